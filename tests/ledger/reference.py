"""The tree said again, from all operations at once and with no care for speed: what the ledger must show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from p2pstore.ids import ROOT_ENTRY, Dot, EntryId
from p2pstore.metadata.commits import decode_commit
from p2pstore.metadata.operations import MetadataKeys, SealedOperation, decode_operation, open_operation
from p2pstore.metadata.tree import PeerName, conflict_name
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Inline, Kind, Version


@dataclass(frozen=True)
class Operation:
    """A version and what it supersedes."""

    held: Held
    superseded: frozenset[Dot]


def operations_of(raw_commits: Iterable[bytes], keys: MetadataKeys) -> list[Operation]:
    """Every version in the commits."""
    found = []
    for raw in raw_commits:
        commit = decode_commit(raw)
        for offset, data in enumerate(commit.operations):
            dot = Dot(*commit.writer, commit.first + offset)
            operation = decode_operation(data, commit.writer)
            if isinstance(operation, SealedOperation):
                body = open_operation(operation, dot, keys)
                if isinstance(body, Version):
                    found.append(Operation(Held(dot, commit.hlc, body), frozenset(operation.superseded)))
    return found


def _rank(held: Held) -> tuple[int, bytes, int, bytes]:
    return held.hlc, held.dot.author, held.dot.sequence, held.dot.incarnation


def reference_tree(operations: Iterable[Operation], peer_name: PeerName) -> dict[str, bytes | None]:
    """Every path shown with a file's bytes, None for a folder."""
    operations = list(operations)
    dead = {dot for operation in operations for dot in operation.superseded}
    live: dict[EntryId, list[Held]] = {}
    for operation in operations:
        if operation.held.dot not in dead:
            live.setdefault(operation.held.version.entry, []).append(operation.held)
    winners = {
        entry: max(helds, key=lambda held: (not held.version.deleted, _rank(held))) for entry, helds in live.items()
    }
    wanted = {entry: held.version.parent for entry, held in winners.items()}
    folders = {entry for entry, held in winners.items() if held.version.kind is Kind.FOLDER}

    def up(entry: EntryId) -> EntryId | None:
        parent = wanted.get(entry)
        if parent in (ROOT_ENTRY, RECOVERED_ENTRY) or parent in folders:
            return parent
        return None

    def chain(entry: EntryId) -> list[EntryId]:
        path = [entry]
        while (above := up(path[-1])) is not None and above not in path:
            path.append(above)
        return path

    shown_in: dict[EntryId, EntryId] = {}
    for entry, won in winners.items():
        parent = up(entry)
        if parent is None:
            shown_in[entry] = RECOVERED_ENTRY
            continue
        path = chain(entry)
        if up(path[-1]) == entry:  # a cycle through this entry
            loser = max(path, key=lambda each: (_rank(winners[each]), each))
            if loser == entry:
                former = won.version.former_parent
                parent = RECOVERED_ENTRY
                if former == ROOT_ENTRY or (former in folders and ROOT_ENTRY in chain(former)):
                    parent = former
        shown_in[entry] = parent

    children: dict[EntryId, list[EntryId]] = {}
    for entry in sorted(shown_in):
        children.setdefault(shown_in[entry], []).append(entry)

    def shown(entry: EntryId) -> bool:
        if entry in winners and not winners[entry].version.deleted:
            return True
        return (entry == RECOVERED_ENTRY or entry in folders) and any(shown(each) for each in children.get(entry, ()))

    found: dict[str, bytes | None] = {}

    def visit(where: bytes, entries: list[EntryId]) -> None:
        by_name: dict[bytes, list[EntryId]] = {}
        for entry in entries:
            for child in children.get(entry, ()):
                if shown(child):
                    by_name.setdefault(winners[child].version.name, []).append(child)
            if entry == ROOT_ENTRY and shown(RECOVERED_ENTRY):
                by_name.setdefault(b"Recovered", []).append(RECOVERED_ENTRY)
        for name, members in sorted(by_name.items()):
            merged = [entry for entry in members if entry == RECOVERED_ENTRY or entry in folders]
            groups: dict[object, Held] = {}
            versions = [
                held
                for entry in members
                if entry != RECOVERED_ENTRY
                for held in live[entry]
                if not held.version.deleted and held.version.kind is not Kind.FOLDER
            ]
            for held in sorted(versions, key=_rank, reverse=True):
                groups.setdefault((held.version.kind, held.version.content), held)
            if merged:
                path = where + name
                found[path.decode()] = None
                visit(path + b"/", merged)
            used = {name}
            for number, held in enumerate(groups.values()):
                content = held.version.content
                assert isinstance(content, Inline)
                shown_name = name
                if merged or number:
                    shown_name = conflict_name(name, peer_name(held.dot.author), held.hlc)
                    if shown_name in used or shown_name in by_name:
                        mark = blake3(b"%b%b%d" % (held.dot.author, held.dot.incarnation, held.dot.sequence))
                        shown_name = conflict_name(name, peer_name(held.dot.author), held.hlc, mark.hexdigest()[:8])
                    used.add(shown_name)
                found[(where + shown_name).decode()] = content.data

    visit(b"", [ROOT_ENTRY])
    return found
