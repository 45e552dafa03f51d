"""Help pages: narrow enough for every terminal, and true: what they tell to type is there."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from p2pstore.cli.main import VERBS, cli
from p2pstore.cli.session import Session
from p2pstore.cli.topics import TOPICS
from tests.cli.running_cli import Cli
from tests.test_documents import parse


@pytest.mark.parametrize("name", TOPICS)
def test_a_page_fits_a_terminal_of_80_by_24(name: str) -> None:
    lines = TOPICS[name].text.splitlines()
    assert max(map(len, lines)) <= 79
    assert len(lines) <= 24
    assert TOPICS[name].text.isascii()


def commands() -> list[str]:
    """Every command that stands in a page: until two blanks, a comma, a backquote or the end of the line."""
    found = []
    for topic in TOPICS.values():
        found += re.findall(r"(?<!from )p2pstore (?:[a-z-]+)(?: [^\s,`;]+)*", topic.text)
    return found


@pytest.mark.parametrize("command", commands())
def test_what_a_page_tells_to_type_can_be_typed(command: str) -> None:
    parse(cli, shlex.split(command)[1:], click.Context(cli, info_name="p2pstore", obj=Session()))


def test_help_lists_every_topic_and_explains_each(cli: Cli) -> None:
    everything = cli("help").text
    for name, topic in TOPICS.items():
        assert re.search(rf"^  {name} +{re.escape(topic.summary)}$", everything, re.MULTILINE)
        assert cli("help", name).text == topic.text + "\n"
    assert not set(TOPICS) & set(VERBS)


def test_parts_of_verbs_are_explained(cli: Cli) -> None:
    assert "Usage: p2pstore peers revoke" in cli("help", "peers", "revoke").text
    wrong = cli("help", "peers", "no-such-part", "--json")
    assert (wrong.code, "verdict" in wrong.last["what"]) == (2, True)


def test_tab_offers_topics_and_verbs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", "p2pstore help ve")
    monkeypatch.setenv("COMP_CWORD", "ve")
    monkeypatch.setenv("_P2PSTORE_COMPLETE", "fish_complete")
    offered = [line.partition(",")[2].partition("\t")[0] for line in cli().text.splitlines()]
    assert offered == ["versions", "verdict", "version"]
