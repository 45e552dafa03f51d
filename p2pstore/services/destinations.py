"""Where things land: the rules of cp, for both directions. Pure, given what is at the destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pstore.errors import PathFault


@dataclass(frozen=True, slots=True)
class There:
    """What is at a destination.

    Attributes:
        kind: "file", "folder", "link", or None for nothing.
    """

    kind: str | None


def landing(
    names: Sequence[bytes | None], *, folders: Sequence[bool], destination: tuple[bytes, ...], there: There, into: bool
) -> list[tuple[bytes, ...]]:
    """The target path of each source.

    Args:
        names: what each source is called inside a folder; None: its contents are meant ("dir/.").
        folders: whether each source is a folder.
        destination: path as given.
        there: what is there.
        into: it must be a folder (several sources, or a slash at its end).

    Raises:
        PathFault: "not-a-folder" where a folder is needed, "taken" where a folder would replace a file.
    """
    if there.kind == "folder":
        return [destination if name is None else (*destination, name) for name in names]
    lone_folder = len(names) == 1 and folders[0]
    if (into or len(names) > 1) and not (lone_folder and there.kind is None):
        raise PathFault("not-a-folder", destination)
    if folders[0] and there.kind is not None:
        raise PathFault("taken", destination)
    return [destination]
