"""Every verb against real daemons: the fake of the other tests says what the real one says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pstore.control import exits
from tests.cli.running_cli import Cli, Ran
from tests.cli.schema import load, problems
from tests.cli.test_contract import CALLS, ELSEWHERE, schema_of
from tests.daemons.families import wait_until

pytestmark = pytest.mark.daemons


TESTED_BY_THEMSELVES = {
    *("peers retire", "peers replace"),
    *("recovery-kit shares", "recovery-kit rotate", "recovery-kit agree"),
}
"""With real daemons in tests of their own. The four that the test below does not call have nothing to do there."""


@pytest.fixture
def homes(home: Path, cli: Cli) -> Iterator[tuple[Path, Path]]:
    """Two homes; their daemons are stopped in the end."""
    other = home.parent / "other"
    yield home, other
    for one in (home, other):
        cli("down", "--home", str(one))


def test_every_verb_of_a_household_of_two(homes: tuple[Path, Path], cli: Cli) -> None:
    first, second = homes
    root = first.parent
    odd = b"/files/caf\xe9\n"
    called: set[str] = set()

    def run(home: Path, verb: str, *arguments: str | bytes, stdin: bytes = b"", code: int = 0) -> Ran:
        ran = cli("--json", verb, *arguments, "--home", str(home), stdin=stdin)
        assert ran.code == code, ran
        words = [word for word in (verb, *arguments) if isinstance(word, str)]
        call = " ".join(words[: 2 if " ".join(words[:2]) in {*CALLS, *ELSEWHERE} else 1])
        if ran.last["type"] == "result":
            called.add(call)
        assert problems(ran.last, load("error" if ran.last["type"] == "error" else schema_of(call))) == []
        return ran

    run(first, "init", "--name", "nas", "--site", "home", "--size", "1G", "--kit-file", str(root / "kit"))
    run(first, "up", "--listen", "127.0.0.1")
    invited = run(first, "invite", "--no-wait").last
    run(second, "join", invited["code"], "--at", invited["address"], "--name", "attic")
    run(second, "up", "--listen", "127.0.0.1")
    assert run(second, "up").last["already_running"] is True
    assert {peer["name"] for peer in run(first, "peers").last["peers"]} == {"nas", "attic"}
    assert run(second, "status").last["household"] == "household"

    (root / "files").mkdir()
    (root / "files" / "large").write_bytes(os.urandom(2_000_000))
    Path(os.fsdecode(os.fsencode(root) + odd)).write_bytes(b"odd")
    ran = run(first, "put", "-r", str(root / "files"), "/", "--progress=json")
    assert (ran.last["files"], ran.last["failed"]) == (2, [])
    run(first, "put", "-", "/piped", stdin=b"from a pipe")
    assert {entry["name"] for entry in run(second, "ls").last["entries"]} == {"files", "piped"}
    assert len(run(second, "tree", "/").last["entries"]) == 4
    assert run(second, "cat", odd).last["base64"] == "b2Rk"
    run(second, "get", "-r", "/files", str(root / "back"))
    assert (root / "back" / "large").read_bytes() == (root / "files" / "large").read_bytes()
    assert run(first, "where", "/files/large").last["chunks"]
    assert run(first, "where", odd).last["inline"] is True
    run(first, "safe", code=exits.VERDICTS[run(first, "status").last["verdict"]["state"]])
    checks = {check["name"]: check for check in run(first, "doctor").last["checks"]}
    assert checks["clock"]["what"] == "within 0 s of those of others: 1"
    assert {checks[name]["state"] for name in ("firewall", "router", "permissions", "versions")} == {"ok"}
    run(first, "mkdir", "-p", "/a/b")
    run(first, "mv", "/piped", "/a/b/")
    assert cli("cat", "/a/b/piped", "--home", str(first)).out == b"from a pipe"
    run(first, "rm", "/a", code=exits.USAGE)
    run(first, "rm", "-r", "/a")
    run(first, "get", "/a", str(root / "x"), code=exits.NOT_FOUND)
    run(first, "put", str(root / "missing"), "/m", code=exits.NOT_FOUND)
    run(first, "cat", "/files", code=exits.USAGE)
    assert run(first, "version").last["daemon"]["version"]

    promised = run(first, "promise", "set", "/files", "house", code=exits.TOO_FEW_MACHINES).last
    assert [(one["path"], one["promise"], one["possible"]) for one in promised["promises"]] == [
        ("/files", "house", False)
    ]
    plan = run(first, "promise", "plan", "/files", "--dry-run", code=exits.TOO_FEW_MACHINES).last
    assert [one["wanted"] for one in plan["missing"]] == ["a machine with room at a second site"]
    run(first, "promise", "set", "/files", "any-1")
    plan = run(first, "promise", "plan", "/files").last
    assert (plan["kept"], plan["needed"], {one["name"]: one["shards"] for one in plan["holders"]}) == (
        True, 1, {"nas": 1, "attic": 1},
    )  # fmt: skip
    run(first, "promise", "rm", "/files")
    assert run(first, "promise").last["promises"] == run(first, "promise", "ls").last["promises"] == []
    run(first, "retention", "set", "/", "90d")
    run(first, "retention", "quota", "20G")
    kept = run(first, "retention").last
    assert (kept["rules"], kept["quota_bytes"]) == ([{"path": "/", "days": 90}], 20 * 10**9)
    run(first, "retention", "rm", "/")
    assert run(first, "retention", "ls").last["default_days"] == 30
    run(first, "snapshot", "create", "then")
    assert [one["name"] for one in run(first, "snapshot").last["snapshots"]] == ["then"]
    (root / "files" / "large").write_bytes(b"small now")
    run(first, "put", str(root / "files" / "large"), "/files/large")
    assert run(first, "history", "/files/large").last["total"] == 2
    assert run(first, "diff", "/files/large@then", "/files/large").last["differs"]
    assert run(first, "restore", "/files/large@then").last["entries"] == 1
    assert {one["path"] for one in run(first, "trash").last["entries"]} == {"/a"}
    assert run(first, "trash", "ls", "--all").last["entries"]
    assert run(first, "trash", "put-back", "/a").last["entries"] == 3
    run(first, "tag", "add", odd, "tax")
    assert run(first, "tag", "ls", odd).last["tags"] == [{"word": "tax", "count": 1}]
    assert run(first, "search", "caf*", "--tag", "tax").last["entries"][0]["path_hex"] == odd.hex()
    assert run(first, "tag", "rm", odd, "tax").last["tags"] == run(first, "tag").last["tags"] == []
    run(first, "snapshot", "rm", "then")
    assert run(first, "snapshot", "ls").last["snapshots"] == []
    assert run(first, "conflicts").last["conflicts"] == []
    run(first, "resolve", "/files/large", "--keep", "this", code=exits.USAGE)
    assert run(first, "log").last["commits"]
    wait_until(lambda: cli("repair", "--home", str(first)).code == 0, "nothing is due")
    run(first, "repair")
    assert run(first, "du").last["total"]["stored"] == run(first, "du", "--by", "machine").last["total"]["stored"] > 0
    assert run(first, "gc", "--dry-run").last["stripes"] == run(first, "gc").last["stripes"] == 0
    run(first, "brake")
    run(first, "brake", "status")
    run(first, "brake", "allow")
    assert run(first, "scrub", "--now").last["exit"] == 0
    assert run(first, "test-restore", "--files", "3").last["failed"] == []
    run(first, "peers", "can-leave", "attic", code=exits.REFUSED)
    run(first, "peers", "rename", "attic", "loft")
    run(first, "peers", "site", "loft", "cabin")
    run(first, "peers", "limit", "2G")
    run(first, "peers", "role", "loft", "storage", "--yes")
    gone = run(first, "peers", "revoke", "loft", "--yes").last
    assert gone["removed"] is True
    run(first, "peers", "forget", "loft", "--yes", code=exits.NOT_FOUND)
    assert run(first, "peers", "frozen").last["machines"] == []
    assert run(first, "peers", "adopt", gone["peer_id"], "--yes").last["adopted"] == 0
    run(first, "watch", "add", str(root / "back"), "/back")
    assert len(run(first, "watch", "ls").last["watches"]) == len(run(first, "watch").last["watches"]) == 1
    run(first, "watch", "rm", str(root / "back"))
    run(first, "help")
    run(first, "completion", "zsh")
    run(first, "recovery-kit", "print", "--words-file", str(root / "kit"))
    run(first, "recovery-kit", "check", "--words-file", str(root / "kit"))
    assert run(first, "down").last["clean"] is True
    run(first, "status", code=exits.NOT_RUNNING)
    first.chmod(0o755)
    assert run(first, "doctor", "--fix", code=exits.THIN).last["fixed"] == ["p2pstore up", f"chmod 700 {first}"]
    assert run(first, "status").last["household"] == "household"
    not_called = {call for call in CALLS if call not in called and not call.startswith("sim ")}
    assert not_called - TESTED_BY_THEMSELVES == {"resolve", "peers forget", "watch allow", "watch keep"}
