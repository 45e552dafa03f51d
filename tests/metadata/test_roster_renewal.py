"""A new paper key in place of a lost or copied one: who may make it, what becomes of the old, and merging."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed, PeerFault
from p2pstore.keys.generation import Recipient
from p2pstore.keys.household import HouseholdKeys, new_secret
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import (
    NotAllowed,
    mend_generations,
    open_generations,
    renew,
    share_generations,
)
from p2pstore.metadata.roster_codec import make_card, make_enrolment, make_new_root, make_renewal, read_statement
from p2pstore.metadata.roster_statements import NewRoot, Renewal
from tests.keys.household import Household, profile


def paper(seed: int) -> HouseholdKeys:
    return HouseholdKeys.derive(new_secret(random.Random(seed)))


def new_root(home: Household, fresh: HouseholdKeys, roster: Roster | None = None) -> NewRoot:
    return make_new_root(fresh, home.network, replaced=(roster or home.roster).root_public)


def renewal(home: Household, fresh: HouseholdKeys, *, by: str, roster: Roster | None = None) -> bytes:
    signer = home.keys if by == "root" else home.machine(by)
    at = roster or home.roster
    return renew(signer, at, new_root(home, fresh, at), now_s=7000.0)


def share(home: Household) -> None:
    home.mend()
    home.learn(*share_generations(home.first, home.roster, home.keyring, now_s=8000.0, rng=home.rng))


def test_the_old_paper_names_the_new_and_is_void_from_then_on() -> None:
    home, fresh = Household(), paper(9)
    home.enrolled("laptop")
    before = home.names()
    after = home.learn(renewal(home, fresh, by="root"))
    assert (after.root_public, after.recovery_public) == (fresh.public, fresh.recovery_public)
    assert after.recovery_curve_public == fresh.recovery_curve_public
    assert after.network_id == home.network
    assert home.names() == before, "what it signed before stays"
    with pytest.raises(NotAllowed):
        home.removal("laptop", by="root")
    card = make_card(home.machine("thief"), home.network)
    forged = make_enrolment(
        home.keys, home.network, card=card, profile=profile("thief", "admin"), joined_s=1.0, envelopes=()
    )
    assert "thief" not in home.names(home.learn(forged))


def test_the_new_paper_may_do_what_the_old_one_could() -> None:
    home, fresh = Household(), paper(9)
    home.enrolled("laptop", role="admin")
    home.learn(renewal(home, fresh, by="root"))
    home.keys = fresh
    home.learn(home.removal("laptop", by="root"))
    assert home.names() == ["first"]
    again = paper(10)
    home.learn(renewal(home, again, by="root"))
    assert home.roster.root_public == again.public
    assert home.names() == ["first"]


def test_every_generation_is_sealed_to_the_new_recovery_key_and_new_ones_to_it_alone() -> None:
    home, fresh = Household(), paper(9)
    home.enrolled("laptop")
    home.learn(home.removal("laptop", by="first"))
    home.mend()
    home.learn(renewal(home, fresh, by="root"))
    share(home)
    opened = open_generations(home.roster, fresh.recovery_public, fresh.recovery_secret)
    assert {each.id for each in opened.generations} == {each.id for each in home.keyring.generations}
    newest = home.roster.generation_ids()[0]
    assert Recipient(home.keys.recovery_public, True) not in home.roster.recipients_of(newest)
    old = open_generations(home.roster, home.keys.recovery_public, home.keys.recovery_secret)
    assert newest not in {each.id for each in old.generations}


def test_without_the_old_paper_all_admins_must_agree() -> None:
    home, fresh = Household(), paper(9)
    home.enrolled("second", "third", role="admin")
    home.enrolled("member")
    old = home.roster.root_public
    with pytest.raises(NotAllowed):
        renewal(home, fresh, by="member")
    home.learn(renewal(home, fresh, by="first"), renewal(home, fresh, by="second"))
    assert home.roster.root_public == old
    (pending,) = home.roster.pending_renewals()
    assert set(pending.voters) == {home.peer("first"), home.peer("second")}
    home.learn(renew(home.machine("third"), home.roster, pending.new, now_s=7001.0))
    assert home.roster.root_public == fresh.public
    assert home.roster.pending_renewals() == []
    assert home.roster.ignored == 0


def test_a_stolen_only_admin_does_not_throw_the_family_out() -> None:
    home, thiefs = Household(), paper(9)
    home.enrolled("laptop", "nas")
    home.learn(renewal(home, thiefs, by="first"))
    assert home.roster.root_public == thiefs.public
    assert home.roster.is_root(home.keys.public), "the old paper may still remove who voted it out"
    home.learn(home.removal("first", by="root", kept=home.roster.statement_ids_by(home.peer("first"))))
    assert home.roster.root_public == home.keys.public
    assert home.names() == ["laptop", "nas"]


def test_all_admins_beat_whoever_has_a_copy_of_the_paper() -> None:
    for seed in range(10, 20):
        home, ours, thiefs = Household(seed=seed), paper(seed + 200), paper(seed + 100)
        home.enrolled("second", role="admin")
        votes = [renewal(home, ours, by=name) for name in ("first", "second")]
        theft = renewal(home, thiefs, by="root")
        assert home.learn(theft, *votes).root_public == ours.public


def test_an_admin_with_the_paper_beats_a_copy_of_the_paper_whenever_it_is_used() -> None:
    for seed in range(10, 20):
        home, ours, thiefs = Household(seed=seed), paper(seed + 200), paper(seed + 100)
        home.enrolled("second", role="admin")
        both = [renewal(home, ours, by="first"), renewal(home, ours, by="root")]
        later = renewal(home, thiefs, by="root")
        home.learn(*both)
        assert home.learn(later).root_public == ours.public


def test_what_was_done_on_the_other_side_meanwhile_stands() -> None:
    home, fresh = Household(), paper(9)
    home.enrolled("second", role="admin")
    here = home.roster.with_statements([renewal(home, fresh, by="root"), renewal(home, fresh, by="first")])
    there = home.roster.with_statements([home.enrolment("cabin", by="second")])
    merged = here.merge(there)
    assert merged == there.merge(here)
    assert merged.root_public == fresh.public
    assert home.names(merged) == ["cabin", "first", "second"]


def test_an_admin_made_meanwhile_elsewhere_has_to_agree_too() -> None:
    home, fresh = Household(), paper(9)
    home.enrolled("second", role="admin")
    votes = [renewal(home, fresh, by=name) for name in ("first", "second")]
    here = home.roster.with_statements(votes)
    assert here.root_public == fresh.public
    there = home.roster.with_statements([home.enrolment("cabin", "admin", by="second")])
    merged = here.merge(there)
    assert merged.root_public == home.keys.public
    (pending,) = merged.pending_renewals()
    agreed = merged.with_statements([renew(home.machine("cabin"), merged, pending.new, now_s=9000.0)])
    assert agreed.root_public == fresh.public


STATEMENTS_SEED = st.integers(0, 2**16)


@given(STATEMENTS_SEED)
def test_order_and_company_change_nothing(seed: int) -> None:
    home = Household(seed=3)
    home.enrolled("second", role="admin")
    home.enrolled("laptop")
    base = home.roster
    some = [
        renewal(home, paper(9), by="root"),
        renewal(home, paper(9), by="first"),
        renewal(home, paper(10), by="root"),
        renewal(home, paper(10), by="second"),
        home.enrolment("cabin", by="second"),
        home.removal("laptop", by="root"),
    ]
    rng = random.Random(seed)
    chosen = rng.sample(some, rng.randrange(len(some) + 1))
    expected = base.with_statements(chosen)
    one = base
    for statement in rng.sample(chosen, len(chosen)):
        one = one.with_statements([statement])
    assert one == expected
    assert (one.root_public, home.names(one)) == (expected.root_public, home.names(expected))
    cut = rng.randrange(len(chosen) + 1)
    merged = base.with_statements(chosen[:cut]).merge(base.with_statements(chosen[cut:]))
    assert (merged.root_public, home.names(merged)) == (expected.root_public, home.names(expected))


def test_a_chain_of_papers_is_followed_in_any_order() -> None:
    home, second, third = Household(), paper(9), paper(10)
    start = home.roster
    first_step = renewal(home, second, by="root")
    after = start.with_statements([first_step])
    next_step = renew(second, after, make_new_root(third, home.network, replaced=second.public), now_s=8000.0)
    for order in permutations([first_step, next_step]):
        assert start.with_statements(order).root_public == third.public
    back = renew(
        third, after.with_statements([next_step]),
        NewRoot(third.public, home.keys.public, *home_keys(home), make_new_root(home.keys, home.network,
                replaced=third.public).signature),
        now_s=9000.0,
    )  # fmt: skip
    assert after.with_statements([next_step, back]).root_public == third.public, "no way back to an old paper"


def home_keys(home: Household) -> tuple[bytes, bytes]:
    return home.keys.recovery_public, home.keys.recovery_curve_public


def test_a_new_root_that_nobody_holds_is_refused() -> None:
    home, fresh = Household(), paper(9)
    new = new_root(home, fresh)
    stolen = NewRoot(new.replaced, new.root_public, home.keys.recovery_public, new.recovery_curve_public, new.signature)
    data = make_renewal(home.keys, home.network, new=stolen, kept=(), stated_s=1.0)
    with pytest.raises(PeerFault):
        read_statement(data, home.network)
    good = read_statement(renewal(home, fresh, by="root"), home.network)
    assert isinstance(good.body, Renewal)
    assert good.body.new == new
    with pytest.raises(Malformed):
        read_statement(good.data[:-1], home.network)


def test_a_household_of_one_machine_mends_at_once() -> None:
    home, fresh = Household(), paper(9)
    home.learn(renewal(home, fresh, by="first"))
    done = mend_generations(home.first, home.roster, home.keyring, now_s=1.0, rng=home.rng)
    assert len(done.generations) == 1, "a generation that the old paper never opens"
