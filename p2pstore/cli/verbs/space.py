"""du: what files really cost, parity included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.paths import StorePath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits


@click.command(cls=Verb)
@click.argument("path", metavar="[PATH]", type=StorePath(), default="/")
@click.option("--by", type=click.Choice(["folder", "machine"]), default="folder", help="How to divide it.")
@click.pass_obj
def du(session: Session, path: bytes, *, by: str) -> int:
    """What files really cost: all shards on all machines, parity included.

    What several files share is counted once, where it is met first. History and trash are not in it; what a machine
    holds besides is shown with `--by machine`.
    """
    result = session.ask("du", {"path": path, "by": by}, unbounded=True)
    session.show({**result, "exit": exits.DONE}, _lines(session, result))
    return exits.DONE


def _lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    total = result["total"]
    if session.plain:
        keys = ("stored", "bytes", "files")
        lines = [f"{' '.join(str(one[key]) for key in keys)} {text.shown(one['path'])}" for one in result["folders"]]
        lines += [f"{one['stored']} {one['besides']} {one['name']}" for one in result["machines"]]
        return [*lines, f"{total['stored']} {total['bytes']} {total['files']} total"]
    if result["machines"]:
        rows = [[one["name"], text.size(one["stored"]), text.size(one["besides"])] for one in result["machines"]]
        lines = text.table([["machine", "of these files", "besides"], *rows])
    else:
        rows = [
            [text.size(one["stored"]), text.size(one["bytes"]), text.shown(one["path"])] for one in result["folders"]
        ]
        lines = text.table([["costs", "plain", "path"], *rows])
    factor = f", {total['stored'] / total['bytes']:.2f} bytes a byte" if total["bytes"] else ""
    lines.append(
        f"{text.count(total['files'], 'file')}, {text.size(total['bytes'])}: costs {text.size(total['stored'])}{factor}"
    )
    if total["unknown"]:
        lines.append(f"of {text.count(total['unknown'], 'file')} this machine cannot tell yet")
    return lines
