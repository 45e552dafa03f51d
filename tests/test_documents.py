"""Documents keep their word: what is generated is up to date, commands parse, links lead somewhere, Python compiles."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from p2pstore.cli.main import cli
from p2pstore.cli.session import Session

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def fenced(*languages: str) -> Iterator[tuple[str, str]]:
    """(document, block) of each fenced block in one of the languages."""
    for path in DOCUMENTS:
        for language, block in FENCED.findall(path.read_text("utf-8")):
            if language in languages:
                yield str(path.relative_to(ROOT)), block


def commands() -> list[tuple[str, str]]:
    """(document, command line) of each `p2pstore ...` in a block for a shell."""
    found = []
    for document, block in fenced("sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|;]", re.sub(r"(^|\s)#.*$", "", line)):
                words = part.strip().removeprefix("$ ")
                if re.match(r"(\S*/)?p2pstore(\s|$)", words):
                    found.append((document, words))
    return found


@pytest.mark.parametrize(("document", "line"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_in_a_document_names_a_verb_and_options_that_there_are(document: str, line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not re.match(r"\d?>", word)]
    parse(cli, words, click.Context(cli, info_name="p2pstore", obj=Session()))


def parse(command: click.Command, words: list[str], context: click.Context) -> None:
    """Parse as the command line would, without running anything. Raises click.UsageError."""
    if isinstance(command, click.Group):
        rest = command.make_parser(context).parse_args(words)[1]
        if not rest:
            return
        name, inner, rest = command.resolve_command(context, rest)
        assert inner is not None, f"no verb {name}"
        parse(inner, rest, click.Context(inner, info_name=name, parent=context, obj=context.obj))
        return
    options, rest, order = command.make_parser(context).parse_args(words)
    for param in command.get_params(context):
        if isinstance(param, click.Argument) and param.name in options:
            value = options[param.name]
            missing = value in (None, ()) or not isinstance(value, str | tuple | list)
            assert not (param.required and missing), f"missing {param.human_readable_name}"
    assert not rest, f"too many words: {rest}"
    assert order is not None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = FENCED.sub("", document.read_text("utf-8"))
    broken = []
    for target in LINK.findall(text):
        place, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (document.parent / place) if place else document
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def anchors(document: Path) -> set[str]:
    """The names of a document's headings, as links use them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", document.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("document", "block"), list(fenced("python")))
def test_python_in_documents_compiles_and_imports_what_there_is(document: str, block: str) -> None:
    compile(block, document, "exec", flags=0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for line in re.findall(r"^(?:from p2pstore\S* import .*|import p2pstore.*)$", block, re.MULTILINE):
        exec(line, {})


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["reference/cli.md", "man/p2pstore.1"])
def test_what_is_generated_is_up_to_date(name: str) -> None:
    path = ROOT / "docs" / name
    fresh = generator().GENERATED[path]()
    assert path.read_text("utf-8") == fresh, "type: python docs/generate.py"


def test_the_man_page_uses_the_macros_of_man_pages() -> None:
    lines = (ROOT / "docs" / "man" / "p2pstore.1").read_text("utf-8").splitlines()
    macros = {line.split()[0] for line in lines if line.startswith(".")}
    assert macros == {'.\\"', ".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".nf", ".fi"}
    assert ".SH SYNOPSIS" in lines
