"""What the verbs that look back print, and which exit code they end with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pstore.control import exits
from tests.cli.running_cli import Cli
from tests.control.fake_daemon import FakeDaemon, serving


@pytest.fixture
def run(home: Path, cli: Cli) -> Iterator[Cli]:
    """Runs a verb against a fake daemon."""
    daemon = FakeDaemon()
    with serving(daemon.handlers(), home):
        yield lambda *arguments: cli("--home", str(home), *arguments)


def test_history_numbers_versions_and_says_what_cannot_be_read(run: Cli) -> None:
    lines = run("history", "/x").text.splitlines()
    assert [line.split()[0] for line in lines] == ["@3", "@2", "@1"]
    assert lines[0].endswith("current")
    assert lines[1].endswith("cannot be read now")
    assert lines[2].endswith("not looked at")
    assert "\\n" in lines[0], "a name cannot break the line"
    assert len(run("history", "/x", "-n", "1").text.splitlines()) == 1


def test_a_restore_that_fails_in_part_says_so(run: Cli) -> None:
    whole = run("restore", "/x@1")
    assert (whole.code, whole.text) == (exits.DONE, "restored /x@1: 1 thing, 2 were as wanted\n")
    partly = run("restore", "/x@1", "--to", "/y")
    assert partly.code == exits.PARTLY
    assert "not restored" in partly.err
    assert run("trash", "put-back", "/x/").text == "put back /x: 1 thing, 2 were as wanted\n"


def test_diff_shows_lines_that_cannot_talk_to_the_terminal(run: Cli) -> None:
    ran = run("diff", "/x@1")
    assert "-two" in ran.text
    assert "+\\x1b[31mthree" in ran.text
    assert "\x1b" not in ran.text
    assert "size: 7 B -> 9 B" in ran.text
    assert "+ /caf\\xe9 \\n.txt/" in ran.text


@pytest.mark.parametrize("verb", ["trash", "snapshot", "tag"])
def test_a_verb_of_several_parts_lists_when_it_stands_alone(verb: str, run: Cli) -> None:
    alone, listing = run(verb), run(verb, "ls")
    assert (alone.code, alone.out) == (listing.code, listing.out) == (exits.DONE, alone.out)
    assert alone.out


def test_a_search_needs_something_to_look_for(run: Cli) -> None:
    assert run("search").code == exits.USAGE
    assert run("search", "--larger", "much").code == exits.USAGE
    assert "there is more" in run("search", "two", "words").err


def test_conflicts_name_who_and_how_to_decide(run: Cli) -> None:
    ran = run("conflicts")
    assert "a (conflict, attic).txt" in ran.text
    assert "resolve PATH --keep" in ran.err
    assert run("resolve", "/a.txt").code == exits.USAGE
    assert run("resolve", "/a.txt", "--keep", "OTHER").text == "resolved /a.txt: kept other of 2\n"


def test_the_log_counts_what_it_does_not_name_and_a_broken_chain_ends_with_8(run: Cli) -> None:
    lines = run("log").text.splitlines()
    assert "created" in lines[0]
    assert "and 4 more" in lines[0]
    assert "7 operations" in lines[1]
    checked = run("log", "--verify")
    assert checked.code == exits.DAMAGE
    assert "a gap after number 4" in checked.text


def test_an_argument_that_is_no_text_is_no_crash(run: Cli) -> None:
    assert run("search", b"caf\xe9", "--tag", b"\xff").code == exits.DONE
    assert run("tag", "add", "/x", b"\xff").code == exits.DONE
    assert run("snapshot", "create", b"\xff").code == exits.DONE
    assert run("log", "--machine", b"\xff", "--since", b"\xff").code == exits.DONE
