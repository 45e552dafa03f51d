"""The rules of the view, one by one; the ledger's tests hold them together."""

from __future__ import annotations

from dataclasses import replace

from p2pstore.ids import ROOT_ENTRY, Dot, EntryId, Incarnation, PeerId
from p2pstore.metadata.tree import Node, Rank, arrange, conflict_name, cycle_through, place, winner
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Inline, Kind, Version

A, B, C, D = (EntryId(letter * 16) for letter in (b"a", b"b", b"c", b"d"))
HLC = 1_767_225_600_000 << 16


def held(entry: EntryId = A, data: bytes = b"", *, hlc: int = HLC, sequence: int = 1, author: bytes = b"p") -> Held:
    """A file version."""
    version = Version(entry, ROOT_ENTRY, b"n.txt", Kind.FILE, Inline(data), len(data), 0, 0)
    return Held(Dot(PeerId(author * 32), Incarnation(b"i" * 8), sequence), hlc, version)


def deleted(one: Held) -> Held:
    """Its tombstone."""
    return replace(one, version=replace(one.version, deleted=True))


def folder(one: Held) -> Held:
    """The same as a folder."""
    return replace(one, version=replace(one.version, kind=Kind.FOLDER, content=None))


def names(versions: list[Held], taken: tuple[bytes, ...] = ()) -> list[bytes]:
    """The names that are shown."""
    items = arrange(b"n.txt", versions, peer_name=lambda peer: f"PC {peer[:1].decode()}", is_taken=taken.__contains__)
    return [item.name for item in items]


def node(parent: EntryId, hlc: int = 1, former: EntryId | None = None, kind: Kind = Kind.FOLDER) -> Node:
    """A node."""
    return Node(parent, former, kind, Rank(hlc, PeerId(b"p" * 32), 1, Incarnation(b"i" * 8)))


def test_the_clock_chooses_then_the_author_then_the_sequence() -> None:
    assert winner([held(hlc=1, author=b"z"), held(hlc=2)]).hlc == 2
    assert winner([held(author=b"y"), held(author=b"z"), held(author=b"x")]).dot.author == b"z" * 32
    assert winner([held(sequence=1), held(sequence=3), held(sequence=2)]).dot.sequence == 3


def test_an_edit_beats_a_deletion_that_the_clock_puts_later() -> None:
    assert not winner([held(hlc=1), deleted(held(hlc=9))]).version.deleted


def test_copies_are_named_after_machine_and_day() -> None:
    versions = [held(data=b"1", hlc=HLC + 1), held(data=b"2", author=b"q")]
    assert names(versions) == [b"n.txt", b"n (conflict, PC q, 2026-01-01).txt"]


def test_names_that_would_collide_get_a_mark() -> None:
    versions = [held(data=b"%d" % n, sequence=n) for n in (1, 2, 3)]
    shown = names(versions)
    assert shown[:2] == [b"n.txt", b"n (conflict, PC p, 2026-01-01).txt"]
    assert shown[2].startswith(b"n (conflict, PC p, 2026-01-01, ")
    assert len(set(shown)) == 3
    taken = names(versions[:2], taken=(b"n (conflict, PC p, 2026-01-01).txt",))
    assert taken[1].startswith(b"n (conflict, PC p, 2026-01-01, ")


def test_equal_contents_are_one_item_and_folders_another() -> None:
    versions = [held(A, b"1"), held(B, b"1"), folder(held(D, sequence=2)), folder(held(C, hlc=1))]
    items = arrange(b"n.txt", versions, peer_name=lambda _: "PC", is_taken=lambda _: False)
    assert [(item.kind, item.entries) for item in items] == [(Kind.FOLDER, (C, D)), (Kind.FILE, (A, B))]
    assert items[0].entry == C, "new children go to the smallest"
    assert items[0].held.dot.sequence == 2, "attributes come from the largest rank"
    assert (items[0].copies, items[1].conflict) == (1, True)


def test_a_write_supersedes_tombstones_too() -> None:
    [item] = arrange(
        b"n.txt", [held(), deleted(held(sequence=2))], peer_name=lambda _: "PC", is_taken=lambda _: False
    )
    assert {dot.sequence for dot in item.dots} == {1, 2}


def test_conflict_names_fit_a_file_system() -> None:
    long = conflict_name("é".encode() * 127 + b"x", "Anna's laptop / kitchen", HLC, "12345678")
    assert len(long) <= 255
    assert long.decode().startswith("é")
    assert b"/" not in long
    assert conflict_name(b".profile", "PC", HLC) == b".profile (conflict, PC, 2026-01-01)"
    assert conflict_name(b"a.tar.gz", "PC", HLC) == b"a.tar (conflict, PC, 2026-01-01).gz"
    assert conflict_name(b"no extension", "PC", HLC) == b"no extension (conflict, PC, 2026-01-01)"
    assert len(conflict_name(b"n" * 255, "p" * 1000, HLC, "f" * 64)) == 255


def test_an_entry_is_where_it_wants_to_be_if_that_is_a_folder() -> None:
    nodes = {A: node(ROOT_ENTRY), B: node(A, kind=Kind.FILE), C: node(B), D: node(EntryId(b"?" * 16))}
    assert [place(entry, nodes.get) for entry in (A, B, C, D)] == [ROOT_ENTRY, A, RECOVERED_ENTRY, RECOVERED_ENTRY]


def test_the_latest_move_of_a_cycle_is_not_followed() -> None:
    nodes = {A: node(B, 1, ROOT_ENTRY), B: node(C, 3, ROOT_ENTRY), C: node(A, 2, ROOT_ENTRY), D: node(C)}
    assert cycle_through(A, nodes.get) == [A, B, C]
    assert cycle_through(D, nodes.get) == []
    assert [place(entry, nodes.get) for entry in (A, B, C, D)] == [B, ROOT_ENTRY, A, C]


def test_a_way_out_that_leads_back_ends_in_recovered() -> None:
    for former in (D, A, None, EntryId(b"?" * 16)):
        nodes = {A: node(B, 1), B: node(A, 2, former), D: node(A)}
        assert place(B, nodes.get) == RECOVERED_ENTRY
