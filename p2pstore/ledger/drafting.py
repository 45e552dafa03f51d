"""Turns drafts into operations, inside the writer's transaction, where nothing else can change the tree."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import ROOT_ENTRY, Dot, EntryId
from p2pstore.ledger.collection import sparing
from p2pstore.ledger.drafts import (
    AddVersion,
    Draft,
    MakeFolder,
    MakeSnapshot,
    Move,
    Outcome,
    Path,
    Put,
    Remove,
    RemoveEntry,
    RemoveSnapshot,
    SetPromise,
    SetRetention,
    SetTag,
    Spare,
)
from p2pstore.ledger.marks import live_snapshots, live_tag_dots
from p2pstore.ledger.promises import live_promise
from p2pstore.ledger.retention import live_rules
from p2pstore.ledger.tree_index import TreeIndex
from p2pstore.ledger.tree_view import TreeView
from p2pstore.ledger.writers import Writers
from p2pstore.limits import SNAPSHOT_VECTOR_BYTES_MAX
from p2pstore.metadata.adoption import Adoption
from p2pstore.metadata.collection import Condemned, Intent
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.marks import Snapshot, Tag
from p2pstore.metadata.operations import Body, ManifestPage, StripeStatement
from p2pstore.metadata.tree import ROOT_ITEM, Item
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Kind, Version, check_entry, check_name
from p2pstore.seams.disk import Database

_FOLDERS_KEPT = 1000
"""Folders remembered by path until the next change of the structure: an import fills one after the other."""

Append = Callable[[Body, Sequence[Dot]], Dot]
"""Writes one operation and its rows, and says its dot."""


class Drafting:
    """Carries out one draft after the other; each sees what those before it did."""

    def __init__(
        self,
        database: Database,
        view: TreeView,
        index: TreeIndex,
        append: Append,
        rng: random.Random,
        *,
        writers: Writers,
        seen: Callable[[], Vector],
    ) -> None:
        self._database = database
        self._writers = writers
        self._seen = seen
        self._view = view
        self._index = index
        self._folders: dict[Path, Item] = {}
        self._folders_at = -1
        self._append = append
        self._rng = rng

    def carry_out(self, draft: Draft) -> Outcome:
        """Write the operations of `draft`.

        Raises:
            PathFault: the tree is not as the draft wants it; some of its operations may be written.
            Misuse: a name or value that cannot stand in a version.
        """
        match draft:
            case Put():
                return self._put(draft)
            case MakeFolder():
                return self._make_folder(draft)
            case Move():
                return self._move(draft)
            case Remove():
                return self._remove(draft)
            case RemoveEntry(entry):
                live = self._view.live_versions(entry)
                if all(held.version.deleted for held in live):
                    return Outcome(entry, None)
                version = replace(self._own_version(live), deleted=True)
                return Outcome(entry, self._append(version, [held.dot for held in live]))
            case AddVersion(version, superseded):
                check_entry(version)
                if superseded is None:
                    superseded = tuple(held.dot for held in self._view.live_versions(version.entry))
                return Outcome(version.entry, self._append(version, superseded))
            case SetTag(entry, word, present):
                dots = live_tag_dots(self._database, self._writers, entry, word)
                if bool(dots) == present:
                    return Outcome(entry, None)
                return Outcome(entry, self._append(Tag(entry, word, present), dots))
            case MakeSnapshot(name):
                if live_snapshots(self._database, self._writers, name=name):
                    raise PathFault("taken", (name.encode(),))
                return Outcome(None, self._append(Snapshot(self._rng.randbytes(16), name, self._cut()), ()))
            case RemoveSnapshot(name):
                return self._remove_snapshot(name)
            case SetRetention(rule):
                said = live_rules(self._database, self._writers, rule.entry)
                if rule == said.rule if said is not None else rule.days is None:
                    return Outcome(rule.entry, None)
                return Outcome(rule.entry, self._append(rule, () if said is None else said.dots))
            case Adoption() | Forked():
                return Outcome(None, self._append(draft, ()))
            case SetPromise(promise):
                before = live_promise(self._database, self._writers, promise.entry)
                if promise.word == (None if before is None else before.word):
                    return Outcome(promise.entry, None)
                return Outcome(promise.entry, self._append(promise, () if before is None else before.dots))
            case ManifestPage():
                known = "SELECT 1 FROM manifest_pages WHERE manifest = ? AND page = ?"
                if self._database.execute(known, (draft.manifest, draft.page)):
                    return Outcome(None, None)
                return Outcome(None, self._append(draft, ()))
            case StripeStatement():
                known = (
                    "SELECT 1 FROM stripes WHERE encoding = ? AND chunk = ? AND needed = ? AND sealed_length = ?"
                    " AND shard_length = ? AND promise = ?"
                )
                values = (
                    draft.encoding,
                    draft.chunk,
                    draft.needed,
                    draft.sealed_length,
                    draft.shard_length,
                    draft.promise,
                )
                if self._database.execute(known, values):
                    return Outcome(None, None)
                return Outcome(None, self._append(draft, ()))
            case Intent() | Condemned():
                return Outcome(None, self._append(draft, ()))
            case Spare(encodings):
                dot = None
                for consent in sparing(self._database, self._writers, encodings):
                    dot = self._append(consent, ())
                return Outcome(None, dot)
            case _:
                assert_never(draft)

    def _cut(self) -> Vector:
        cut = self._seen()
        if len(cut.encode()) > SNAPSHOT_VECTOR_BYTES_MAX:
            raise Misuse("too many machines have written here for a snapshot")
        return cut

    def _remove_snapshot(self, name: str) -> Outcome:
        found = live_snapshots(self._database, self._writers, name=name)
        if not found:
            raise PathFault("not-found", (name.encode(),))
        dot: Dot | None = None
        for made in found:
            dot = self._append(Snapshot(made.snapshot.id, name, None), [made.dot])
        return Outcome(None, dot)

    def _new_entry(self) -> EntryId:
        return EntryId(self._rng.randbytes(16))

    def _folder(self, path: Path, *, make: bool, mode: int = 0o755) -> Item:
        """The folder at `path` (remembered while the structure stays), made with those above it if `make`."""
        if self._folders_at != self._index.structure:
            self._folders.clear()
            self._folders_at = self._index.structure
        if (known := self._folders.get(path)) is not None:
            return known
        item = ROOT_ITEM
        for depth, name in enumerate(path, start=1):
            below = self._view.child(item.entries, name)
            if below is None:
                if not make:
                    raise PathFault("not-found", path[:depth])
                below = self._add_folder(item, name, mode=mode, mtime_ns=0)
            elif below.kind is not Kind.FOLDER:
                raise PathFault("not-a-folder", path[:depth])
            item = below
        if self._folders_at == self._index.structure and len(self._folders) < _FOLDERS_KEPT:
            self._folders[path] = item
        return item

    def _add_folder(self, above: Item, name: bytes, *, mode: int, mtime_ns: int) -> Item:
        entry = self._new_entry()
        version = Version(entry, above.entry, check_name(name), Kind.FOLDER, None, 0, mtime_ns, mode)
        dot = self._append(version, ())
        return Item(name, entry, Held(dot, 0, version), (entry,), (dot,))

    def _put(self, draft: Put) -> Outcome:
        if not draft.path:
            raise PathFault("is-a-folder", draft.path)
        folder = self._folder(draft.path[:-1], make=draft.make_parents)
        name = check_name(draft.path[-1])
        item = self._view.child(folder.entries, name)
        if draft.expected is not None and draft.expected != (() if item is None else item.dots):
            raise PathFault("changed", draft.path)
        if item is not None and item.kind is Kind.FOLDER:
            raise PathFault("is-a-folder", draft.path)
        if item is None or item.conflict:
            # a write to a conflict copy ends the conflict: the copy becomes an entry of its own
            entry, parent, former = self._new_entry(), folder.entry, None
        else:
            entry = item.entry
            stays = item.version.parent in folder.entries
            parent = item.version.parent if stays else folder.entry
            former = item.version.former_parent
        version = Version(
            entry,
            parent,
            name,
            draft.kind,
            draft.content,
            draft.size,
            draft.mtime_ns,
            draft.mode,
            former_parent=former,
        )
        return Outcome(entry, self._append(version, () if item is None else item.dots))

    def _make_folder(self, draft: MakeFolder) -> Outcome:
        if not draft.path:
            return Outcome(ROOT_ENTRY, None)
        above = self._folder(draft.path[:-1], make=draft.make_parents, mode=draft.mode)
        item = self._view.child(above.entries, draft.path[-1])
        if item is None:
            item = self._add_folder(above, draft.path[-1], mode=draft.mode, mtime_ns=draft.mtime_ns)
            return Outcome(item.entry, item.held.dot)
        if item.kind is not Kind.FOLDER:
            raise PathFault("taken", draft.path)
        if not draft.update or item.entry == RECOVERED_ENTRY:
            return Outcome(item.entry, None)
        live = self._view.live_versions(item.entry)
        own = next((held.version for held in live if not held.version.deleted), item.version)
        version = replace(own, mode=draft.mode, mtime_ns=draft.mtime_ns, deleted=False)
        return Outcome(item.entry, self._append(version, [held.dot for held in live]))

    def _move(self, draft: Move) -> Outcome:
        item = self._view.resolve(draft.source)
        if item is None:
            raise PathFault("not-found", draft.source)
        if not draft.source or not draft.target or item.entry == RECOVERED_ENTRY:
            raise PathFault("taken", draft.target)
        if draft.source == draft.target:
            return Outcome(item.entry, None)
        if item.kind is Kind.FOLDER and draft.target[: len(draft.source)] == draft.source:
            raise PathFault("inside-itself", draft.target)
        folder = self._folder(draft.target[:-1], make=False)
        name = check_name(draft.target[-1])
        there = self._view.child(folder.entries, name)
        superseded = set(item.dots)
        if there is not None and not (there.kind is Kind.FOLDER and there.entries == item.entries):
            if not draft.replace or there.kind is Kind.FOLDER or item.kind is Kind.FOLDER:
                raise PathFault("taken", draft.target)
            superseded.update(there.dots)
        if item.kind is not Kind.FOLDER:
            entry = self._new_entry() if item.conflict else item.entry
            version = self._moved(item.version, entry, folder, name)
            return Outcome(entry, self._append(version, sorted(superseded)))
        dot: Dot | None = None
        for entry in item.entries:
            if entry != RECOVERED_ENTRY:
                live = self._view.live_versions(entry)
                version = self._moved(self._own_version(live), entry, folder, name)
                dot = self._append(version, [held.dot for held in live])
        return Outcome(item.entry, dot)

    @staticmethod
    def _own_version(live: Sequence[Held]) -> Version:
        alive = [held for held in live if not held.version.deleted] or list(live)
        return max(alive, key=lambda held: (held.hlc, held.dot)).version

    @staticmethod
    def _moved(version: Version, entry: EntryId, folder: Item, name: bytes) -> Version:
        """The same content elsewhere. A move within a folder keeps its parent and says no former one anew."""
        if version.parent in folder.entries:
            return replace(version, entry=entry, name=name, deleted=False)
        return replace(
            version, entry=entry, parent=folder.entry, name=name, deleted=False, former_parent=version.parent
        )

    def _remove(self, draft: Remove) -> Outcome:
        item = self._view.resolve(draft.path)
        if item is None:
            raise PathFault("not-found", draft.path)
        if not draft.path:
            raise PathFault("not-empty", draft.path)
        if draft.expected is not None and draft.expected != item.dots:
            raise PathFault("changed", draft.path)
        if item.kind is Kind.FOLDER and self._view.children(item.entries, None, 1).items:
            raise PathFault("not-empty", draft.path)
        dot: Dot | None = None
        for entry in item.entries:
            if entry == RECOVERED_ENTRY:
                continue
            live = self._view.live_versions(entry)
            mine = [held for held in live if held.dot in item.dots or held.version.deleted]
            version = replace(self._own_version(mine), deleted=True)
            dot = self._append(version, [held.dot for held in mine])
        return Outcome(item.entry, dot)
