"""The roster: authority, merging, names, removals, key generations."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.keys.generation import Recipient, seal_generation
from p2pstore.keys.household import HouseholdKeys
from p2pstore.keys.identity import Identity
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import NotAllowed, enrol, mend_generations, open_generations, remove
from p2pstore.metadata.roster_codec import (
    make_card,
    make_certificate,
    make_enrolment,
    make_generation,
    make_reinstatement,
    make_removal,
    make_update,
    read_statement,
)
from p2pstore.metadata.roster_statements import Endpoints, Fact, Removal, StatementId
from tests.keys.household import Household, profile

# --- founding and enrolling ---------------------------------------------------------------------------------------


def test_a_household_begins_with_one_admin_whose_network_id_is_the_hash_of_the_genesis() -> None:
    home = Household()
    (first,) = home.roster.members()
    assert (first.name, first.role, first.site, first.steadiness) == ("first", "admin", "home", "desktop")
    assert home.roster.name == "The Bakers"
    assert home.roster.root_public == HouseholdKeys.derive(home.secret).public
    assert Household(seed=2).network != home.network


def test_an_admin_enrols_and_a_member_may_not() -> None:
    home = Household()
    home.enrolled("laptop", "nas")
    assert home.names() == ["first", "laptop", "nas"]
    with pytest.raises(NotAllowed):
        home.enrolment("guest", by="laptop")
    card = make_card(home.machine("guest"), home.network)
    forged = make_enrolment(
        home.machine("laptop"), home.network, card=card, profile=profile("guest"), joined_s=1.0, envelopes=()
    )
    after = home.learn(forged)
    assert "guest" not in home.names()
    assert after.ignored == 1


def test_a_member_is_found_by_id_by_curve_key_and_by_name() -> None:
    home = Household()
    roster = home.enrolled("laptop")
    laptop = home.machine("laptop")
    member = roster.member(laptop.peer_id)
    assert member is not None
    assert member == roster.by_curve(laptop.curve_public) == roster.by_name("LAPTOP")
    assert (member.public, member.curve_public) == (laptop.public, laptop.curve_public)
    assert roster.member(home.peer("stranger")) is None
    assert roster.by_curve(bytes(32)) is None


def test_a_newcomer_reads_every_generation_of_its_role() -> None:
    home = Household()
    home.enrolled("old")
    home.learn(home.removal("old", by="first"))
    home.mend()
    roster = home.enrolled("new")
    home.enrolled("nas", role="storage")
    new, nas = home.machine("new"), home.machine("nas")
    assert open_generations(roster, new.curve_public, new.curve_secret) == home.keyring
    blind = open_generations(home.roster, nas.curve_public, nas.curve_secret)
    assert [each.id for each in blind.generations] == [each.id for each in home.keyring.generations]
    assert not any(each.whole for each in blind.generations)


def test_the_statements_of_another_household_mean_nothing_here() -> None:
    home, neighbour = Household(seed=1), Household(seed=2)
    neighbour.enrolled("spy")
    mixed = Roster.from_statements([*neighbour.roster.statements(), *home.roster.statements()], home.network)
    assert mixed == home.roster
    assert mixed.ignored == len(neighbour.roster.statements())
    with pytest.raises(Malformed):
        Roster.from_statements([*neighbour.roster.statements(), *home.roster.statements()])
    with pytest.raises(Malformed):
        home.roster.merge(neighbour.roster)
    with pytest.raises(Malformed):
        Roster.from_statements(neighbour.roster.statements(), home.network)


def test_a_card_binds_the_curve_key_to_the_identity() -> None:
    home = Household()
    thief, victim = home.machine("thief"), home.machine("victim")
    crossed = Identity(thief.signing_secret, victim.curve_secret)
    home.enrolled("victim")
    home.learn(
        enrol(
            home.first,
            home.roster,
            home.keyring,
            card=make_card(crossed, home.network),
            profile=profile("thief"),
            now_s=9000.0,
            rng=home.rng,
        )
    )
    found = home.roster.by_curve(victim.curve_public)
    assert found is not None
    assert found.name == "victim", "of two claims to one curve key the older stands"


def test_a_machine_that_is_invited_again_is_what_it_was_invited_as_last() -> None:
    home = Household()
    home.learn(home.enrolment("pi"))
    card = make_card(home.machine("pi"), home.network)
    again = make_enrolment(
        home.first, home.network, card=card, profile=profile("attic", "storage"), joined_s=9000.0, envelopes=()
    )
    home.learn(again)
    (member,) = [each for each in home.roster.members() if each.peer_id == home.peer("pi")]
    assert (member.name, member.role) == ("attic", "storage")


# --- names and facts ----------------------------------------------------------------------------------------------


def test_two_machines_of_one_name_are_shown_apart_whichever_statement_came_first() -> None:
    home = Household()
    a, b, c = (home.enrolment(name) for name in ("a", "b", "c"))
    same = [
        make_update(home.first, home.network, subject=home.peer(name), about=Fact.NAME, sequence=1, value=shown)
        for name, shown in [("a", "nas"), ("b", "NAS"), ("c", "nas-2")]
    ]
    one, other = Household(), Household()
    one.learn(a, b, c, *same)
    other.learn(*reversed(same), c, b, a)
    assert one.names() == other.names() == ["NAS-3", "first", "nas", "nas-2"]


def test_the_higher_sequence_wins_and_a_tie_is_broken_alike_everywhere() -> None:
    home = Household()
    home.enrolled("laptop")
    subject = home.peer("laptop")

    def renamed(name: str, sequence: int) -> bytes:
        return make_update(home.first, home.network, subject=subject, about=Fact.NAME, sequence=sequence, value=name)

    home.learn(renamed("late", 7), renamed("early", 3))
    assert "late" in home.names()
    assert home.roster.next_sequence(subject, Fact.NAME) == 8
    ties = [renamed("x", 9), renamed("y", 9)]
    one, other = home.roster.with_statements(ties), home.roster.with_statements(reversed(ties))
    assert home.names(one) == home.names(other)


def test_a_peer_speaks_for_its_addresses_and_an_admin_for_its_name() -> None:
    home = Household()
    home.enrolled("laptop", "nas")
    laptop, nas = home.machine("laptop"), home.machine("nas")
    where = Endpoints(("10.0.0.2:7000",), ("10.0.0.2:7001",), ("10.0.0.2:7000",))

    def update(by: Identity, about: Fact, value: str | int | Endpoints, sequence: int = 1) -> bytes:
        return make_update(by, home.network, subject=nas.peer_id, about=about, sequence=sequence, value=value)

    home.learn(
        update(nas, Fact.ENDPOINTS, where),
        update(nas, Fact.CAPACITY, 5),
        update(nas, Fact.STEADINESS, "always-on"),
        update(nas, Fact.NAME, "king"),
        update(laptop, Fact.ENDPOINTS, Endpoints(("6.6.6.6:666",)), 9),
        update(home.first, Fact.CAPACITY, 9, 9),
        update(home.first, Fact.SITE, "cabin"),
        update(home.first, Fact.ROLE, "storage"),
    )
    member = home.roster.member(nas.peer_id)
    assert member is not None
    assert (member.name, member.site, member.role) == ("nas", "cabin", "storage")
    assert (member.capacity_bytes, member.steadiness, member.endpoints) == (5, "always-on", where)
    assert member.peer_endpoint.control == ("10.0.0.2:7000",)
    assert home.roster.ignored == 3


def test_old_addresses_are_forgotten() -> None:
    home = Household()
    home.enrolled("nas")
    nas = home.machine("nas")
    before = len(home.roster.statement_ids())
    for sequence in range(1, 20):
        where = Endpoints((f"10.0.0.{sequence}:7000",))
        home.learn(
            make_update(
                nas, home.network, subject=nas.peer_id, about=Fact.ENDPOINTS, sequence=sequence, value=where
            )
        )
    assert len(home.roster.statement_ids()) == before + 1


@pytest.mark.parametrize("name", ["", " nas", "nas ", "a\nb", "x" * 64, "\x1b[31m", "a\u202eb"])
def test_a_name_is_one_printable_line(name: str) -> None:
    home = Household()
    with pytest.raises(Malformed):
        make_update(home.first, home.network, subject=home.first.peer_id, about=Fact.NAME, sequence=1, value=name)


# --- removing -----------------------------------------------------------------------------------------------------


def test_an_admin_removes_a_member_and_the_removed_are_listed_with_their_cut() -> None:
    home = Household()
    home.enrolled("laptop", "nas")
    home.learn(home.removal("laptop", by="first", cut=b"vector"))
    assert home.names() == ["first", "nas"]
    (removed,) = home.roster.removed()
    assert (removed.name, removed.peer_id, removed.cuts) == ("laptop", home.peer("laptop"), (b"vector",))
    assert removed.by == (home.first.peer_id,)


def test_the_removed_are_listed_under_the_name_they_had_last() -> None:
    home = Household()
    home.enrolled("laptop")
    home.learn(
        make_update(home.first, home.network, subject=home.peer("laptop"), about=Fact.NAME, sequence=1, value="loft")
    )
    home.learn(home.removal("laptop", by="first"))
    assert [each.name for each in home.roster.removed()] == ["loft"]


def test_a_removed_machine_does_not_come_back_under_its_old_identity() -> None:
    home = Household()
    home.enrolled("laptop")
    again = home.enrolment("laptop")
    home.learn(home.removal("laptop", by="first"))
    home.learn(again)
    assert home.names() == ["first"]
    with pytest.raises(NotAllowed):
        home.enrolment("laptop")


def test_a_member_leaves_by_itself_but_cannot_make_others_leave() -> None:
    home = Household()
    home.enrolled("laptop", "nas")
    laptop = home.machine("laptop")
    home.learn(make_removal(laptop, home.network, subject=home.peer("nas")))
    assert home.names() == ["first", "laptop", "nas"]
    home.learn(make_removal(laptop, home.network, subject=laptop.peer_id))
    assert home.names() == ["first", "nas"]


def test_two_other_admins_remove_an_admin_and_one_does_not() -> None:
    home = Household()
    home.enrolled("second", "third", role="admin")
    home.learn(home.removal("first", by="second"))
    assert home.names() == ["first", "second", "third"]
    (pending,) = home.roster.pending_removals()
    assert (pending.peer_id, pending.voters) == (home.first.peer_id, (home.peer("second"),))
    home.learn(home.removal("first", by="third"))
    assert home.names() == ["second", "third"], "and what the first enrolled stays"
    assert not home.roster.pending_removals()


def test_the_paper_key_removes_an_admin_alone() -> None:
    home = Household()
    home.enrolled("second", role="admin")
    home.learn(home.removal("first", by="root"))
    assert home.names() == ["second"]


def test_a_stolen_admin_with_admins_of_its_own_making_throws_nobody_out() -> None:
    home = Household()
    home.enrolled("second", role="admin")
    home.enrolled("child")
    home.enrolled("puppet1", "puppet2", role="admin", by="second")
    home.enrolled("puppet3", role="admin", by="puppet1")
    for victim in ("first",):
        home.learn(*(home.removal(victim, by=by) for by in ("second", "puppet1", "puppet2", "puppet3")))
    assert "first" in home.names()
    stolen_first = Household()
    stolen_first.enrolled("second", "puppet1", "puppet2", role="admin")
    stolen_first.learn(*(stolen_first.removal("second", by=by) for by in ("first", "puppet1", "puppet2")))
    assert "second" in stolen_first.names()


def test_an_admin_that_vouched_for_the_other_can_be_removed_with_its_help() -> None:
    home = Household()
    home.enrolled("second", "third", role="admin")
    votes = [home.removal("second", by="first"), home.removal("second", by="third")]
    assert "second" in home.names(home.roster.with_statements(votes)), "first could have invented third"
    home.learn(home.certificate("third", by="second"))
    assert "second" not in home.names(home.roster.with_statements(votes)), "second itself vouched for third"


def test_two_admins_that_the_root_certified_suffice_against_any() -> None:
    home = Household()
    home.enrolled("second", "third", role="admin")
    home.learn(make_certificate(home.keys, home.network, subject=home.peer("third")))
    home.learn(home.removal("second", by="first"), home.removal("second", by="third"))
    assert home.names() == ["first", "third"]


def test_what_a_thief_signed_falls_with_the_stolen_admin_and_the_family_stays() -> None:
    home = Household()
    home.enrolled("second", role="admin")
    home.enrolled("child", "nas")
    known = home.roster.statement_ids_by(home.first.peer_id)
    home.learn(home.enrolment("burglar"), home.removal("child", by="first"), home.removal("nas", by="first"))
    assert home.names() == ["burglar", "first", "second"]
    home.learn(home.removal("first", by="root", kept=known))
    assert home.names() == ["child", "nas", "second"]
    home.learn(home.enrolment("burglar2", roster=Household().roster))
    assert home.names() == ["child", "nas", "second"], "nor does it sign anything that counts from then on"


def test_the_root_brings_back_whom_admins_removed_and_then_only_it_removes() -> None:
    home = Household()
    home.enrolled("child")
    vote = home.removal("child", by="first")
    home.learn(vote)
    assert home.names() == ["first"]
    peer = home.peer("child")
    sequence = home.roster.next_root_sequence(peer)
    home.learn(make_reinstatement(home.keys, home.network, subject=peer, sequence=sequence))
    assert home.names() == ["child", "first"]
    home.learn(home.removal("child", by="first", cut=b"again"))
    assert home.names() == ["child", "first"]
    home.learn(home.removal("child", by="root"))
    assert home.names() == ["first"]


def test_two_pairs_that_remove_each_other_end_alike_everywhere() -> None:
    home = Household()
    home.enrolled("a", "b", "c", role="admin")
    for name in ("a", "b", "c"):
        home.learn(make_certificate(home.keys, home.network, subject=home.peer(name)))
    votes = [home.removal(x, by=y) for x, y in [("a", "b"), ("a", "c"), ("b", "a"), ("b", "first"), ("c", "a")]]
    orders = (votes, votes[::-1], votes[2:] + votes[:2])
    results = {tuple(home.names(home.roster.with_statements(order))) for order in orders}
    assert len(results) == 1


# --- key generations ----------------------------------------------------------------------------------------------


def test_the_paper_key_opens_every_generation_after_any_number_of_removals() -> None:
    home = Household()
    for number in range(6):
        home.enrolled(f"m{number}")
        home.learn(home.removal(f"m{number}", by="first"))
        home.mend()
    keys = HouseholdKeys.derive(home.secret)
    ring = open_generations(home.roster, keys.recovery_public, keys.recovery_secret)
    assert ring == home.keyring
    assert len(ring.generations) == 7


def test_a_removed_machine_gets_no_later_generation() -> None:
    home = Household()
    home.enrolled("laptop", "nas")
    home.learn(home.removal("laptop", by="first"))
    home.mend()
    laptop, nas = home.machine("laptop"), home.machine("nas")
    assert len(open_generations(home.roster, laptop.curve_public, laptop.curve_secret).generations) == 1
    assert open_generations(home.roster, nas.curve_public, nas.curve_secret) == home.keyring


def test_mending_adds_an_envelope_where_one_is_missing_and_a_generation_where_one_is_too_many() -> None:
    home = Household()
    home.enrolled("second", role="admin")
    home.enrolled("laptop")
    base = home.roster
    removed = base.with_statements([home.removal("laptop", by="first")])
    fresh = mend_generations(home.first, removed, home.keyring, now_s=1.0, rng=home.rng)
    assert len(fresh.generations) == 1
    late = base.with_statements([home.enrolment("late", by="second")])
    merged = removed.merge(late).with_statements(fresh.statements)
    ring = home.keyring.adding(fresh.generations)
    assert not ring.may_write_with(merged), "the newcomer of the other side lacks the new generation"
    mend = mend_generations(home.first, merged, ring, now_s=1.0, rng=home.rng)
    assert not mend.generations
    mended = merged.with_statements(mend.statements)
    assert ring.may_write_with(mended)
    assert mend_generations(home.first, mended, ring, now_s=1.0, rng=home.rng).statements == ()


def test_a_new_role_needs_new_keys() -> None:
    home = Household()
    home.enrolled("nas")
    subject = home.peer("nas")
    home.learn(
        make_update(home.first, home.network, subject=subject, about=Fact.ROLE, sequence=1, value="storage")
    )
    assert not home.keyring.may_write_with(home.roster), "it still has the content key of this generation"
    home.mend()
    assert home.keyring.may_write_with(home.roster)
    nas = home.machine("nas")
    newest = open_generations(home.roster, nas.curve_public, nas.curve_secret).newest_first(home.roster)[0]
    assert not newest.whole


def test_envelopes_that_a_member_makes_up_are_no_generation() -> None:
    home = Household()
    home.enrolled("laptop")
    laptop = home.machine("laptop")
    (generation,) = home.keyring.generations
    fake = seal_generation(generation, [Recipient(bytes(range(32)), True)], network=home.network, rng=home.rng)
    home.learn(make_generation(laptop, home.network, generation=generation.id, number=9, envelopes=fake))
    assert home.keyring.may_write_with(home.roster)


# --- a set, and nothing else --------------------------------------------------------------------------------------


@cache
def _pool() -> tuple[Roster, tuple[bytes, ...]]:
    """A busy household's statements, forged ones among them."""
    home = Household()
    home.enrolled("second", "third", role="admin")
    home.enrolled("laptop", "nas", "pi")
    genesis_and_first = home.roster.statements()
    laptop = home.machine("laptop")
    where = [
        make_update(
            laptop,
            home.network,
            subject=laptop.peer_id,
            about=Fact.ENDPOINTS,
            sequence=sequence,
            value=Endpoints((f"h:{sequence}",)),
        )
        for sequence in (1, 2, 3)
    ]
    said = [
        *genesis_and_first,
        *where,
        home.enrolment("fourth", "admin", by="third"),
        home.certificate("laptop", by="second"),
        home.removal("first", by="second"),
        home.removal("first", by="third", kept=[]),
        home.removal("third", by="first"),
        home.removal("nas", by="third"),
        home.removal("pi", by="root"),
        make_removal(laptop, home.network, subject=home.peer("nas")),
        make_certificate(home.machine("mallory"), home.network, subject=home.peer("mallory")),
        make_update(home.first, home.network, subject=home.peer("nas"), about=Fact.NAME, sequence=1, value="laptop"),
        make_update(home.machine("pi"), home.network, subject=home.peer("nas"), about=Fact.NAME, sequence=2, value="x"),
        *mend_generations(
            home.machine("second"),
            home.roster.with_statements([home.removal("nas", by="second")]),
            home.keyring,
            now_s=1.0,
            rng=home.rng,
        ).statements,
        *Household(seed=9).roster.statements(),
        b"",
        b"\x95\x01\x00",
        home.roster.statements()[0][:-1] + b"\x00",
    ]
    return home.roster, tuple(said)


SEEDS = st.integers(0, 63)
"""Of subsets of the pool; few, because verifying signatures is what takes the time."""


@cache
def _subset(seed: int) -> Roster:
    roster, pool = _pool()
    rng = random.Random(seed)
    base = [data for data in pool if rng.random() < 0.6]
    return Roster.from_statements([_genesis(), *base], roster.network_id)


@cache
def _genesis() -> bytes:
    roster, pool = _pool()
    for data in pool:
        try:
            if Roster.from_statements([data]).network_id == roster.network_id:
                return data
        except Malformed:
            continue
    raise AssertionError("no genesis in the pool")


def _seen(roster: Roster) -> object:
    return (
        roster.members(),
        roster.removed(),
        roster.pending_removals(),
        roster.statement_ids(),
        roster.digest,
        roster.generation_ids(),
        roster.recipients_wanted(),
    )


@given(SEEDS, SEEDS, SEEDS)
def test_merging_is_commutative_associative_and_idempotent_with_forgeries_mixed_in(a: int, b: int, c: int) -> None:
    one, two, three = _subset(a), _subset(b), _subset(c)
    assert _seen(one.merge(two)) == _seen(two.merge(one))
    assert _seen(one.merge(two).merge(three)) == _seen(one.merge(two.merge(three)))
    assert _seen(one.merge(one)) == _seen(one)


@given(SEEDS, SEEDS)
def test_a_merge_is_the_roster_of_the_union(a: int, b: int) -> None:
    one, two = _subset(a), _subset(b)
    union = Roster.from_statements([*one.statements(), *two.statements()], one.network_id)
    assert _seen(one.merge(two)) == _seen(union)


@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(seed: int, rng: random.Random) -> None:
    roster = _subset(seed)
    shuffled = roster.statements()
    rng.shuffle(shuffled)
    one_by_one = Roster.from_statements([_genesis()])
    for data in shuffled:
        one_by_one = one_by_one.with_statements([data])
    assert _seen(one_by_one) == _seen(roster)


@given(SEEDS, SEEDS)
def test_two_peers_that_send_what_the_other_misses_agree(a: int, b: int) -> None:
    one, two = _subset(a), _subset(b)
    after_one = one.with_statements(two.missing(one.statement_ids()))
    after_two = two.with_statements(one.missing(two.statement_ids()))
    assert after_one == after_two
    assert after_one.digest == after_two.digest
    assert after_one.missing(after_two.statement_ids()) == []


@given(SEEDS)
def test_nobody_is_a_member_without_an_admin_and_the_root_is_never_one(seed: int) -> None:
    roster = _subset(seed)
    assert len({each.name.casefold() for each in roster.members()}) == len(roster.members())
    assert all(each.public != roster.root_public for each in roster.members())
    assert not {each.peer_id for each in roster.members()} & {each.peer_id for each in roster.removed()}


def test_a_household_without_its_genesis_is_none() -> None:
    roster, _ = _pool()
    with pytest.raises(Malformed):
        Roster.from_statements([data for data in roster.statements() if data != _genesis()])


def test_nothing_new_gives_the_same_roster() -> None:
    roster, _ = _pool()
    assert roster.with_statements(roster.statements()) is roster
    assert roster.with_statements([b"rubbish"]) is roster


def test_rubbish_without_end_is_kept_only_up_to_a_limit() -> None:
    home = Household()
    mallory = home.machine("mallory")
    flood = [
        make_removal(mallory, home.network, subject=home.first.peer_id, cut=number.to_bytes(2, "big"))
        for number in range(400)
    ]
    flooded = home.roster.with_statements(flood)
    assert flooded.members() == home.roster.members()
    assert len(flooded.statement_ids()) <= len(home.roster.statement_ids()) + 256
    assert flooded.ignored == 400


def test_an_endless_chain_of_admins_has_no_authority_at_its_end() -> None:
    home = Household()
    names = [f"c{number}" for number in range(20)]
    cards = {name: make_card(home.machine(name), home.network) for name in names}
    chain = [
        make_enrolment(
            home.machine(by), home.network, card=cards[name], profile=profile(name, "admin"), joined_s=1.0, envelopes=()
        )
        for by, name in zip(["first", *names], names, strict=False)
    ]
    roster = home.learn(*chain)
    assert len(roster.admins()) == 16


def test_removal_by_a_member_is_refused_before_it_is_signed() -> None:
    home = Household()
    home.enrolled("laptop")
    with pytest.raises(NotAllowed):
        remove(home.machine("laptop"), home.roster, home.first.peer_id, now_s=1.0)


def test_kept_statements_are_listed_once_and_in_order() -> None:
    home = Household()
    ids = [StatementId(bytes([number]) * 16) for number in (3, 1, 2)]
    statement = read_statement(
        make_removal(home.first, home.network, subject=home.first.peer_id, kept=ids), home.network
    )
    assert isinstance(statement.body, Removal)
    assert statement.body.kept == tuple(sorted(ids))
