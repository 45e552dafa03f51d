"""What an error tells a person to type can be typed: every `p2pstore ...` in the code names what there is."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from p2pstore.cli.main import VERBS, cli
from p2pstore.cli.session import Session
from tests.test_documents import parse

ROOT = Path(__file__).resolve().parents[2]
STANDS_FOR_ANYTHING = "4"
"""A number, a name and a path at once: what is filled in at run time."""


SPEAK_TO_PEOPLE = ("p2pstore/api", "p2pstore/cli", "p2pstore/control", "p2pstore/daemon", "p2pstore/services", "tui")


def modules() -> list[Path]:
    """Where the texts for people are."""
    return [path for folder in SPEAK_TO_PEOPLE for path in sorted((ROOT / folder).rglob("*.py"))]


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, an f-string as one."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else STANDS_FOR_ANYTHING for part in node.values
            )


def commands() -> list[str]:
    """Each text that is a command or several."""
    found = set()
    for path in modules():
        for text in texts(ast.parse(path.read_text("utf-8"))):
            for command in text.split("; "):
                words = re.match(r"p2pstore ([a-z-]+)( |$)", command)
                if words and words[1] in VERBS and "\n" not in command and not command.endswith(" "):
                    found.add(command)
    return sorted(found)


def test_there_are_commands_to_look_at() -> None:
    assert {"p2pstore up", "p2pstore doctor", "p2pstore invite"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_a_command_that_helps_can_be_typed(command: str) -> None:
    line = re.sub(r"\[[^\]]*\]", "", command)  # what may be left out
    words = [word.partition("|")[0] for word in shlex.split(line)[1:] if word != "..."]
    parse(cli, words, click.Context(cli, info_name="p2pstore", obj=Session()))


def test_no_text_names_a_verb_that_there_is_not() -> None:
    unknown: list[str] = []
    for path in modules():
        for text in texts(ast.parse(path.read_text("utf-8"))):
            verbs = re.findall(r"(?:^|type: |`|: )p2pstore ([a-z][a-z-]+)\b", text)
            unknown += [f"{path.name}: {verb}" for verb in verbs if verb not in VERBS]
    assert unknown == []
