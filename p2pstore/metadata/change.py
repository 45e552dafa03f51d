"""What an operation did to its entry, in one word."""

from __future__ import annotations

from enum import StrEnum

from p2pstore.metadata.tree import content_key
from p2pstore.metadata.version import Version


class ChangeKind(StrEnum):
    """What became of an entry from one version to the next."""

    CREATED = "created"
    EDITED = "edited"
    MOVED = "moved"
    RENAMED = "renamed"
    DELETED = "deleted"
    PUT_BACK = "put-back"
    TOUCHED = "touched"
    """Only its mode or time."""


def change_kind(before: Version | None, after: Version) -> ChangeKind:
    """The weightiest thing that differs; `before` is None for an entry's first version."""
    if after.deleted:
        return ChangeKind.DELETED
    if before is None:
        return ChangeKind.CREATED
    if before.deleted:
        return ChangeKind.PUT_BACK
    if before.kind is not after.kind or content_key(before) != content_key(after):
        return ChangeKind.EDITED
    if before.parent != after.parent:
        return ChangeKind.MOVED
    if before.name != after.name:
        return ChangeKind.RENAMED
    return ChangeKind.TOUCHED
