"""Which contents this machine's tree, history, trash, snapshots and frozen operations refer to: what collection must
leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pstore.ids import ManifestId
from p2pstore.metadata.version import Content, ManifestRef, content_from_fields
from p2pstore.packing import pack, unpack
from p2pstore.seams.disk import Database

_MANIFESTS: Final = "content > x'9301' AND content < x'9302' AND deleted < 2"
"""Rows of versions whose content is a manifest, tombstones whose time in the trash is over left out. Written as the
index `versions_by_manifest` is."""


def referenced_manifests(database: Database, after: ManifestId | None, limit: int) -> list[ManifestRef]:
    """A page of the contents that a version refers to, one that is current, in history, in the trash or kept by a
    snapshot; sorted by manifest, from behind `after` on. Contents in a version itself need no shards."""
    start = b"" if after is None else _after(after)
    rows = database.execute(
        f"SELECT content FROM versions INDEXED BY versions_by_manifest WHERE {_MANIFESTS} AND content > ?1"  # noqa: S608
        " UNION SELECT content FROM frozen WHERE content > x'9301' AND content < x'9302' AND content > ?1"
        " ORDER BY content LIMIT ?2",
        (start, limit),
    )
    return [ref for (content,) in rows if isinstance(ref := _content(content), ManifestRef)]


def are_referenced(database: Database, manifests: Sequence[ManifestId]) -> frozenset[ManifestId]:
    """Those of `manifests` that a version refers to."""
    found = set()
    for manifest in manifests:
        low = _before(manifest)
        if database.execute(
            f"SELECT 1 FROM versions INDEXED BY versions_by_manifest WHERE {_MANIFESTS}"  # noqa: S608
            " AND content > ?1 AND content < ?2"
            " UNION ALL SELECT 1 FROM frozen WHERE content > ?1 AND content < ?2 LIMIT 1",
            (low, _after(manifest)),
        ):
            found.add(manifest)
    return frozenset(found)


def _content(stored: bytes) -> Content:
    return content_from_fields(unpack(stored, bytes_max=8192))


def _before(manifest: ManifestId) -> bytes:
    """What stored references to `manifest` begin with."""
    whole = pack([1, manifest, bytes(16)])
    return whole[: whole.index(manifest) + len(manifest)]


def _after(manifest: ManifestId) -> bytes:
    """More than any stored reference to `manifest`, less than any to a later one."""
    return _before(manifest) + b"\xff" * 20
