"""What the app does on request: asks what is missing, and if it is meant, tells the daemon, says what came of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from p2pstore.control.faults import Failure, Fault
from tui import words
from tui.model import Machine, Transfer

if TYPE_CHECKING:
    from tui.app import P2pApp

NAMES_SHOWN: Final = 5


class Actions:
    """Requests of a person, each begun by a key and ended by a notice."""

    def __init__(self, app: P2pApp) -> None:
        self._app = app
        self.fetching = 0
        """Downloads that end when this program does."""
        self.trashed: list[bytes] = []
        """What was put into the trash last."""

    def do(self, op: str, args: Mapping[str, Any], done: Callable[[Any], str]) -> None:
        """Ask the daemon and say what came of it."""
        self._app.run_worker(self._do(op, args, done), group="actions")

    async def _do(self, op: str, args: Mapping[str, Any], done: Callable[[Any], str]) -> None:
        try:
            result = await self._app.link.call(op, args, timeout_s=None if op in ("put", "get") else 60.0)
        except Failure as failure:
            self._app.complain(failure.fault)
            return
        if said := done(result):
            self._app.notify(said, markup=False)

    def _ask(
        self,
        then: Callable[[str | None], None],
        title: str,
        hint: str,
        start: str = "",
        *,
        check: Callable[[str], str],
        complete: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        from tui.dialogs.ask import Ask

        self._app.push_screen(Ask(title, hint, start, complete=complete, check=check), then)

    def _confirm(self, then: Callable[[], None], title: str, lines: Sequence[str], verb: str) -> None:
        from tui.dialogs.confirm import Confirm

        self._app.push_screen(Confirm(title, lines, verb), lambda sure: then() if sure else None)

    # --- in and out -------------------------------------------------------------------------------------------------

    def put(self, folder: bytes) -> None:
        """Ask for a local path and store it in `folder`."""

        def go(answer: str | None) -> None:
            if answer is None:
                return
            path = os.path.abspath(os.path.expanduser(answer))
            source = {"path": os.fsencode(path), "name": os.fsencode(os.path.basename(path.rstrip("/"))) or None}
            args = {"destination": folder, "sources": [source], "recursive": True, "ack": "safe", "into": True}
            self._app.notify(f"storing {path}: 3 shows how far it is", markup=False)
            self.do("put", args, self._stored)

        hint = f"A file or folder of this machine; it goes into {words.shown(folder)}"
        start = os.getcwd().rstrip("/") + "/"
        self._ask(go, "Store", hint, start, complete=_local_matches, check=_must_exist)

    def _stored(self, result: Mapping[str, Any]) -> str:
        self._list_failed(result)
        if not result["files"]:
            return ""
        return f"stored {words.count(result['files'], 'file')}, {words.size(result['bytes'])}. {result['sentence']}"

    def get(self, paths: Sequence[bytes]) -> None:
        """Ask for a local folder and fetch into it; a file that is there already is replaced only when confirmed."""

        def go(answer: str | None) -> None:
            if answer is None:
                return
            folder = os.path.abspath(os.path.expanduser(answer))
            taken = [name for name in (words.name_of(path) for path in paths)
                     if os.path.lexists(os.path.join(os.fsencode(folder), name))]  # fmt: skip
            if not taken:
                self._fetch(paths, folder)
                return
            lines = [f"In {folder} there are already:", *_names(taken), "", "Files of the same name would be replaced."]
            self._confirm(lambda: self._fetch(paths, folder), "Replace what is there?", lines, "replace")

        hint = f"A folder of this machine for {_named(paths)}"
        start = os.getcwd().rstrip("/") + "/"
        self._ask(go, "Get", hint, start, complete=_local_matches, check=_must_be_folder)

    def _fetch(self, paths: Sequence[bytes], folder: str) -> None:
        args = {"sources": list(paths), "destination": os.fsencode(folder), "recursive": True, "into": True}
        self._app.notify(f"fetching into {folder}: 3 shows how far it is", markup=False)
        self._app.run_worker(self._fetching(args), group="actions")

    async def _fetching(self, args: Mapping[str, Any]) -> None:
        self.fetching += 1
        try:
            await self._do("get", args, self._fetched)
        finally:
            self.fetching -= 1

    def _fetched(self, result: Mapping[str, Any]) -> str:
        self._list_failed(result)
        if not result["files"]:
            return ""
        return f"fetched {words.count(result['files'], 'file')}, {words.size(result['bytes'])}"

    def _list_failed(self, result: Mapping[str, Any]) -> None:
        failed = result["failed"]
        if not failed:
            return
        lines = [f"{words.shown(one['path'])}: {one['what']}" for one in failed[:NAMES_SHOWN]]
        more = [f"and {len(failed) - NAMES_SHOWN:,} more"] if len(failed) > NAMES_SHOWN else []
        self._app.notify(
            "\n".join([*lines, *more]), title=f"{words.count(len(failed), 'thing')} failed", severity="error",
            timeout=15, markup=False,
        )  # fmt: skip

    def stop(self, transfer: Transfer) -> None:
        """End a transfer, when confirmed."""
        lines = [transfer.title, "", "What is stored so far stays; the same command goes on where it stopped."]
        args = {"number": transfer.number}
        then = partial(self.do, "transfer.stop", args, lambda _: "stopped")
        self._confirm(then, "Stop this transfer?", lines, "stop it")

    # --- names ------------------------------------------------------------------------------------------------------

    def mkdir(self, folder: bytes) -> None:
        """A new folder in `folder`."""

        def go(name: str | None) -> None:
            if name is not None:
                path = words.join(folder, os.fsencode(name))
                self.do("mkdir", {"path": path, "parents": True}, lambda _: f"made {words.shown(path)}")

        hint = f"Its name; it is made in {words.shown(folder)}"
        self._ask(go, "New folder", hint, check=_must_be_name)

    def move(self, paths: Sequence[bytes]) -> None:
        """Another name for one thing, or another folder for several; nothing is replaced."""
        one = len(paths) == 1
        start = _typed(paths[0] if one else words.parent_of(paths[0]))

        def go(answer: str | None) -> None:
            if answer is not None:
                target = os.fsencode(answer).rstrip(b"/") or b"/"
                into = not one or answer.endswith("/")
                self._app.run_worker(self._move(paths, target, into=into), group="actions")

        hint = "Its new path; with / at the end, the folder it goes into" if one else f"The folder for {_named(paths)}"
        self._ask(
            go, "Move", hint, start, check=_must_be_store_path, complete=self._store_matches
        )

    def _store_matches(self, typed: str) -> list[str]:
        found = (_typed(path) for path in self._app.files.listing.at_hand())
        return [path for path in found if path.startswith(typed)]

    async def _move(self, paths: Sequence[bytes], target: bytes, *, into: bool) -> None:
        try:
            kind = await self._kind(target)
            if kind == "folder":
                into = True
            goals = [words.join(target, words.name_of(path)) if into else target for path in paths]
            for goal in goals:
                if goal not in paths and await self._kind(goal) is not None:
                    self._app.notify(f"{words.shown(goal)} exists already; nothing is replaced", severity="warning",
                                     markup=False)  # fmt: skip
                    return
        except Failure as failure:
            self._app.complain(failure.fault)
            return
        self._app.files.listing.unmark()
        await self._do(
            "mv", {"sources": list(paths), "destination": target, "into": into},
            lambda _: f"moved {_named(paths)} to {words.shown(target)}",
        )  # fmt: skip

    async def _kind(self, path: bytes) -> str | None:
        """"folder", "file", or None for nothing."""
        try:
            await self._app.link.call("page", {"path": path, "offset": 0, "limit": 1})
        except Failure as failure:
            if failure.fault.code == "not-found":
                return None
            if failure.fault.code == "not-a-folder":
                return "file"
            raise
        return "folder"

    def trash(self, paths: Sequence[bytes]) -> None:
        """To the trash, when confirmed."""
        entries = [self._app.files.listing.entry_of(path) for path in paths]
        folders = sum(entry is not None and entry.kind == "folder" for entry in entries)
        lines = [*_names(paths), ""]
        if folders:
            lines.append("Folders go with everything below them.")
        lines.append("It disappears on every machine. The bytes are not given up at once.")

        def go() -> None:
            self._app.files.listing.unmark()
            self.do("rm", {"paths": list(paths), "recursive": True}, trashed)

        def trashed(_: Any) -> str:
            self.trashed = list(paths)
            back = "; z puts it back" if self._app.model.knows("trash") else ""
            return f"{_named(paths)} went to the trash{back}"

        self._confirm(go, "Put into the trash?", lines, "put it into the trash")

    def put_back(self, paths: Sequence[bytes]) -> None:
        """Out of the trash again. Nothing that is there is replaced."""
        for path in paths:
            self.do("trash", {"action": "put-back", "path": path}, self._restored)

    def undo(self) -> None:
        """The last trash, undone."""
        self.put_back(self.trashed)
        self.trashed = []

    def restore(self, path: bytes, number: int) -> None:
        """Make a version the newest, when confirmed."""
        lines = [f"Version {number} of {words.shown(path)} becomes the newest.", "The one of now stays in its history."]
        then = partial(self.do, "restore", {"path": b"%b@%d" % (path, number)}, self._restored)
        self._confirm(then, "Bring this version back?", lines, "bring it back")

    def _restored(self, result: Mapping[str, Any]) -> str:
        self._list_failed(result)
        if result.get("same"):
            return f"{words.shown(result['path'])} is like that already"
        return f"{words.shown(result['path'])} is back"

    # --- machines ---------------------------------------------------------------------------------------------------

    def rename_machine(self, name: str) -> None:
        """Ask for another name."""

        def go(new: str | None) -> None:
            if new is not None and new != name:
                self.do("peers.rename", {"name": name, "new": new}, lambda _: f"{name} is called {new} now")

        self._ask(go, "Rename", f"A new name for {name}", name, check=_must_be_name)

    def move_machine(self, name: str, site: str) -> None:
        """Ask where it stands: what burns together counts as one."""

        def go(new: str | None) -> None:
            if new is not None and new != site:
                self.do("peers.site", {"name": name, "site": new}, lambda _: f"{name} stands at {new} now")

        hint = f"Where {name} stands: machines at one place can be lost together"
        self._ask(go, "Place", hint, site, check=_must_be_name)

    def retire_machine(self, name: str) -> None:
        """Have a machine leave in good order, when confirmed. The daemon refuses it where promises need the machine."""
        lines = [
            f"What {name} holds is written to the others first, and read back there.",
            "Nothing is less safe meanwhile.",
            "Then it leaves the household, and erases its keys and shards.", "",
            f"It can be undone while it is under way: p2pstore peers retire {name} --cancel",
        ]  # fmt: skip
        args = {"name": name, "anyway": False, "stays": False}
        self._confirm(partial(self.do, "peers.retire", args, _leaves), f"Let {name} leave?", lines, "let it leave")

    def remove_machine(self, machine: Machine) -> None:
        """Say what would become of the data; remove the machine when confirmed."""
        self._app.run_worker(self._remove_machine(machine), group="actions")

    async def _remove_machine(self, machine: Machine) -> None:
        name = machine.name
        lines = [f"{name} is cut off; what is stored from now on is sealed with keys that it never gets.", ""]
        try:
            if self._app.model.knows("peers.can-leave"):
                answer = await self._app.link.call("peers.can-leave", {"names": [machine.name]}, timeout_s=120.0)
                lines += ["The others have enough without it."] if answer["possible"] else ["It is needed:"]
                lines += [f"  {reason}" for reason in answer["reasons"][:NAMES_SHOWN]]
        except Failure as failure:
            lines.append(f"Whether the others have enough without it is not known: {failure.fault.what}")
        then = partial(self.do, "peers.forget", {"name": machine.name}, _removed)
        self._confirm(then, f"Remove {machine.name}?", lines, "remove it")

    # --- safety -----------------------------------------------------------------------------------------------------

    def what_if(self, then: Callable[[str | None], None]) -> None:
        """Ask for names of machines or places."""
        known = sorted({name for one in self._app.model.machines for name in (one.name, one.site)})
        hint = f"Machines or places, with a comma between them: {', '.join(known)}"

        def complete(typed: str) -> list[str]:
            before, comma, last = typed.rpartition(",")
            return [before + comma + name for name in known if name.startswith(last.strip())]

        self._ask(then, "What if these were lost?", hint, check=lambda _: "", complete=complete)

    def repair(self) -> None:
        """Say what is due and how much that is; begin when confirmed."""
        self._app.run_worker(self._repair(), group="actions")

    async def _repair(self) -> None:
        try:
            plan = await self._app.link.call("repair", {"now": False}, timeout_s=120.0)
        except Failure as failure:
            self._app.complain(failure.fault)
            return
        lines = [f"{key.replace('_', ' ')}: {value:,}" for key, value in _figures(plan)]
        lines += ["", "What is missing is rebuilt from what is left; nothing becomes less safe meanwhile."]
        then = partial(self.do, "repair", {"now": True}, lambda _: "the repair is through")
        self._confirm(then, "Repair now?", lines, "begin")

    def test_restore(self) -> None:
        """Read some files back whole, to prove that it works."""
        self._app.notify("reading 20 files back")
        self.do("test-restore", {"files": 20}, self._drilled)

    def _drilled(self, result: Mapping[str, Any]) -> str:
        bad = int(result.get("failed_count", 0))
        files = words.count(int(result.get("files", 0)), "file")
        return f"{files} read back, {bad:,} failed" if bad else f"{files} read back and right, every byte"

    # --- a household to try out ---------------------------------------------------------------------------------------

    def on_stage(self, deed: str) -> None:
        """Ask which machine, and do it: "kill", "wipe" or "bring_back"."""
        stage = self._app.stage
        if stage is None:
            return
        fitting = [one.name for one in stage.actors() if one.runs == (deed != "bring_back") and not one.wiped]
        if not fitting:
            self._app.notify("no machine is left for that")
            return
        title = {"kill": "Kill which one?", "wipe": "Burn which one, with its disk?"}.get(deed, "Bring which one back?")

        def then(name: str | None) -> None:
            if name is not None:
                self._app.run_worker(self._on_stage(deed, name), group="actions")

        def complete(typed: str) -> list[str]:
            return [name for name in fitting if name.startswith(typed)]

        def check(typed: str) -> str:
            return "" if typed in fitting else f"one of these: {', '.join(fitting)}"

        hint = f"{', '.join(fitting)}: their files are copies"
        self._ask(then, title, hint, check=check, complete=complete)

    async def _on_stage(self, deed: str, name: str) -> None:
        try:
            await asyncio.to_thread(getattr(self._app.stage, deed), name)
        except Failure as failure:
            self._app.complain(failure.fault)
        self._app.link.hurry()
        self._app.touch()

    # --- the daemon -------------------------------------------------------------------------------------------------

    async def start_daemon(self, run: Callable[[Sequence[str]], Any]) -> None:
        """`p2pstore up`, in a process of its own."""
        self._app.notify("starting the daemon")
        try:
            code, answer = await run(["up"])
        except (TimeoutError, asyncio.CancelledError):
            code, answer = 1, {"what": "the daemon did not start in time"}
        if code:
            fix = tuple(str(line) for line in answer.get("fix") or ())
            self._app.complain(Fault("start-failed", str(answer.get("what", "")), str(answer.get("why", "")), fix))
        self._app.link.hurry()


def _leaves(result: Mapping[str, Any]) -> str:
    consequences = [f"  {each}" for each in result.get("consequences", ())[:NAMES_SHOWN]]
    return "\n".join([f"{result['name']} leaves when all it holds is elsewhere", *consequences])


def _removed(result: Mapping[str, Any]) -> str:
    if result.get("removed"):
        return f"{result['name']} is not in the household any more"
    return f"another admin has to agree before {result['name']} is removed"


def _figures(plan: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The numbers of a plan, for a person to weigh."""
    return [(key, value) for key, value in plan.items() if type(value) is int][:8]


def _local_matches(typed: str) -> Sequence[str]:
    from tui.dialogs.ask import local_matches

    return local_matches(typed)


def _typed(path: bytes) -> str:
    """A path as it can stand in a line that is edited: of one that is not text, the part that is."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError as error:
        text = path[: error.start].decode("utf-8").rpartition("/")[0] + "/"
    return text if text.isprintable() else "/"


def _names(paths: Sequence[bytes]) -> list[str]:
    shown = [f"  {words.shown(words.name_of(path))}" for path in paths[:NAMES_SHOWN]]
    return shown + ([f"  and {len(paths) - NAMES_SHOWN:,} more"] if len(paths) > NAMES_SHOWN else [])


def _named(paths: Sequence[bytes]) -> str:
    return words.shown(words.name_of(paths[0])) if len(paths) == 1 else words.count(len(paths), "thing")


def _must_exist(typed: str) -> str:
    return "" if os.path.lexists(os.path.expanduser(typed)) else "there is nothing of that name on this machine"


def _must_be_folder(typed: str) -> str:
    return "" if os.path.isdir(os.path.expanduser(typed)) else "there is no such folder on this machine"


def _must_be_name(typed: str) -> str:
    return "a name is not empty, has no zero byte and is not . or .." if typed in (".", "..") or "\0" in typed else ""


def _must_be_store_path(typed: str) -> str:
    return "" if typed.startswith("/") else "a path in the store begins with /"
