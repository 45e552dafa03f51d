"""init and join: asked on a terminal, never when scripted."""

from __future__ import annotations

import io
import re
import stat
import sys
from pathlib import Path

import pytest

from p2pstore.cli.main import main
from p2pstore.control import exits
from p2pstore.errors import Forged
from tests.cli.running_cli import Cli
from tests.cli.test_contract import FakeSetup, setup

__all__ = ["setup"]

FLAGS = {"--name": "nas", "--site": "cabin", "--size": "1.5T", "--kit-file": "KIT"}


def arguments(kit: Path, *without: str) -> list[str]:
    given = {flag: value for flag, value in FLAGS.items() if flag not in without}
    return [word.replace("KIT", str(kit)) for pair in given.items() for word in pair]


def test_init_writes_the_kit_for_its_owner_alone_and_shows_no_word(home: Path, cli: Cli, setup: FakeSetup) -> None:
    kit = home.parent / "kit"
    ran = cli("init", "--home", str(home), *arguments(kit), "--household", "Meyer", "--steadiness", "always-on")
    assert ran.code == 0
    assert setup.asked == [
        {
            "home": home, "household": "Meyer", "name": "nas", "site": "cabin", "size_bytes": 1_500_000_000_000,
            "steadiness": "always-on",
        }
    ]
    assert kit.read_text() == " ".join(setup.words) + "\n"
    assert stat.S_IMODE(kit.stat().st_mode) == 0o600
    assert "word" not in ran.text + ran.err


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_a_scripted_init_names_the_flag_that_is_missing(home: Path, cli: Cli, setup: FakeSetup, flag: str) -> None:
    ran = cli("init", "--json", "--home", str(home), *arguments(home.parent / "kit", flag))
    assert ran.code == exits.USAGE
    assert flag in ran.last["what"]
    assert setup.asked == []


def test_a_kit_is_never_overwritten_and_no_household_made_without_a_place_for_it(
    home: Path, cli: Cli, setup: FakeSetup
) -> None:
    kit = home.parent / "kit"
    kit.write_text("the old one")
    ran = cli("init", "--json", "--home", str(home), *arguments(kit))
    assert (ran.code, ran.last["code"]) == (exits.REFUSED, "kit-file")
    assert kit.read_text() == "the old one"
    ran = cli("init", "--json", "--home", str(home), *arguments(home.parent / "no" / "kit"))
    assert ran.code == exits.REFUSED
    assert setup.asked == []


def test_a_kit_may_lie_in_the_home_that_it_is_made_for(home: Path, cli: Cli, setup: FakeSetup) -> None:
    assert cli("init", "--home", str(home), *arguments(home / "kit")).code == 0
    assert (home / "kit").exists()
    assert [path.name for path in home.parent.iterdir()] == ["home"]


def test_an_init_that_fails_leaves_no_kit(
    home: Path, cli: Cli, setup: FakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(home: Path, **what: object) -> None:
        raise PermissionError(13, "Permission denied", str(home))

    monkeypatch.setattr(setup, "create_household", fail)
    ran = cli("init", "--json", "--home", str(home), *arguments(home.parent / "kit"))
    assert ran.code == exits.NOT_ALLOWED
    assert not (home.parent / "kit").exists()


@pytest.mark.parametrize("verb", ["init", "join"])
def test_a_home_is_never_made_twice(home: Path, cli: Cli, setup: FakeSetup, verb: str) -> None:
    home.mkdir()
    (home / "settings.json").touch()
    ran = cli(verb, "--json", "--home", str(home))
    assert (ran.code, ran.last["code"]) == (exits.REFUSED, "exists")


def test_join_takes_defaults_for_what_is_not_said(home: Path, cli: Cli, setup: FakeSetup) -> None:
    ran = cli("join", "7-guitar-sunset", "--at", "[::1]:7702", "--name", "attic", "--home", str(home), "--json")
    assert ran.code == 0
    assert setup.asked == [
        {
            "home": home, "code": "7-guitar-sunset", "at": ("::1", 7702), "name": "attic", "site": "home",
            "size_bytes": 20_000_000_000, "steadiness": "desktop", "timeout_s": 60.0,
        }
    ]
    assert cli("join", "--name", "x", "--home", str(home)).code == exits.USAGE
    assert cli("join", "7-a-b", "--at", "nowhere", "--name", "x", "--home", str(home)).code == exits.USAGE


def test_a_wrong_code_is_told_from_other_failures(
    home: Path, cli: Cli, setup: FakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(home: Path, **what: object) -> None:
        raise Forged("confirmation")

    monkeypatch.setattr(setup, "join_household", fail)
    ran = cli("join", "7-guitar-sunset", "--name", "x", "--home", str(home), "--json")
    assert (ran.code, ran.last["code"]) == (exits.NOT_ALLOWED, "wrong-code")


class Person(io.StringIO):
    """Somebody at a terminal, who reads what was printed and answers the last question."""

    def __init__(self, screen: Screen, answers: dict[str, str]) -> None:
        super().__init__()
        self.screen = screen
        self.answers = answers
        self.asked_back: list[int] = []
        self.mistakes = 1

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
        question = self.screen.getvalue().splitlines()[-1]
        self.screen.write("\n")  # a terminal echoes what is typed
        if word := re.match(r"Word (\d+):", question):
            number = int(word[1])
            self.asked_back.append(number)
            if self.mistakes:
                self.mistakes -= 1
                return "wrong\n"
            shown = re.search(rf"\b{number}\. (\S+)", self.screen.getvalue())
            assert shown is not None
            return f" {shown[1].upper()} \n"
        return next(answer for start, answer in self.answers.items() if question.startswith(start)) + "\n"


class Screen(io.StringIO):
    """A terminal to write to."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_init_asks_shows_the_words_once_and_asks_some_back(
    home: Path, setup: FakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, out = Screen(), Screen()
    answers = {"This machine's name": "", "Where it stands": "cabin", "Disk to give": "20G", "The household": ""}
    person = Person(screen, answers)
    monkeypatch.setattr(sys, "stdin", person)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["init", "--home", str(home)]) == 0
    assert setup.asked[0]["site"] == "cabin"
    assert setup.asked[0]["name"]
    shown = screen.getvalue()
    for number, word in enumerate(setup.words, 1):
        assert len(re.findall(rf"\b{number}\. {word}\b", shown)) == 1
    assert "[QR]" in shown
    assert len(person.asked_back) == 6  # three, one of them wrong, and three again
    assert "look again" in shown
    assert "word1" not in out.getvalue()


def test_a_size_that_is_none_is_asked_for_again(
    home: Path, setup: FakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()

    class Hesitant(Person):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            answer = super().readline(size)
            self.answers["Disk to give"] = "20G"
            return answer

    person = Hesitant(screen, {"Disk to give": "much", "The household": "Meyer"})
    monkeypatch.setattr(sys, "stdin", person)
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["init", "--home", str(home), "--name", "n", "--site", "s"]) == 0
    assert "'much' is not a size" in screen.getvalue()
    assert setup.asked[0]["size_bytes"] == 20_000_000_000
