"""Membership: who is admitted as whom, and keys that fit the members after every change."""

from __future__ import annotations

import pytest

from p2pstore.keys.generation import Keyring
from p2pstore.keys.identity import Identity
from p2pstore.metadata.roster_changes import NotAllowed, change_role, open_generations, share_generations, update
from p2pstore.metadata.roster_statements import Fact
from p2pstore.services.membership import Membership
from simulations.clock import SimulatedClock
from tests.keys.household import Household


def membership_of(household: Household, identity: Identity, keyring: Keyring) -> tuple[Membership, list[Keyring]]:
    """A membership, and every keyring that it made durable."""
    saved: list[Keyring] = []

    async def save(keyring: Keyring) -> None:
        saved.append(keyring)

    membership = Membership(
        identity=identity,
        keyring=keyring,
        roster=household.roster,
        clock=SimulatedClock(),
        rng=household.rng,
        save_keyring=save,
    )
    return membership, saved


def keyring_of(household: Household, name: str) -> Keyring:
    machine = household.machine(name)
    return open_generations(household.roster, machine.curve_public, machine.curve_secret)


async def test_the_paper_is_admitted_as_nobody_of_the_household() -> None:
    household = Household()
    membership, _ = membership_of(household, household.first, household.keyring)
    assert membership.admit(household.keys.recovery_curve_public) == membership.recovery_peer
    assert not membership.is_member(membership.recovery_peer)
    assert membership.recovery_peer not in membership.others()
    assert membership.endpoint(membership.recovery_peer) is None
    assert membership.admit(bytes(range(32))) is None


async def test_a_removal_comes_with_the_keys_that_fit_who_stays() -> None:
    household = Household()
    household.enrolled("laptop", "nas")
    household.mend()
    membership, saved = membership_of(household, household.first, household.keyring)
    before = membership.current_generation().id
    await membership.change(household.first, [household.removal("laptop", by="first")])
    assert membership.current_generation().id != before
    assert saved[-1] == membership.keyring
    assert not membership.is_member(household.peer("laptop"))
    laptop = household.machine("laptop")
    opened = open_generations(membership.roster, laptop.curve_public, laptop.curve_secret)
    assert membership.current_generation().id not in {each.id for each in opened.generations}


async def test_a_machine_that_learns_of_its_removal_talks_to_nobody() -> None:
    household = Household()
    household.enrolled("laptop", "nas")
    membership, _ = membership_of(household, household.machine("laptop"), keyring_of(household, "laptop"))
    assert len(membership.others()) == 2
    await membership.accept([household.removal("laptop", by="first")])
    assert membership.myself is None
    assert membership.others() == []
    await membership.mend()


async def test_a_member_makes_keys_with_the_paper_and_not_without() -> None:
    household = Household()
    household.enrolled("laptop", "nas")
    household.mend()
    membership, _ = membership_of(household, household.machine("nas"), keyring_of(household, "nas"))
    before = membership.current_generation().id
    await membership.mend()
    assert membership.current_generation().id == before
    await membership.change(household.keys, [household.removal("laptop", by="root")])
    assert membership.current_generation().id != before


async def test_a_storage_peer_made_a_member_gets_every_older_key() -> None:
    household = Household()
    household.enrolled("friend", role="storage")
    household.enrolled("laptop")
    household.mend()
    membership, _ = membership_of(household, household.first, household.keyring)
    await membership.change(household.first, [household.removal("laptop", by="first")])
    older = {each.id for each in membership.keyring.generations}
    assert len(older) == 2
    friend = household.machine("friend")
    blind = open_generations(membership.roster, friend.curve_public, friend.curve_secret)
    assert not any(each.whole for each in blind.generations)
    await membership.change(household.first, change_role(household.first, membership.roster, friend.peer_id, "member"))
    opened = open_generations(membership.roster, friend.curve_public, friend.curve_secret)
    assert older <= {each.id for each in opened.generations if each.whole}
    statements = len(membership.roster.statements())
    await membership.mend()
    assert len(membership.roster.statements()) == statements, "nothing is left to do"


def test_shared_generations_go_to_members_only() -> None:
    household = Household()
    household.enrolled("friend", role="storage")
    household.enrolled("laptop")
    household.mend()
    household.learn(household.removal("laptop", by="first"))
    household.mend()
    assert share_generations(household.first, household.roster, household.keyring, now_s=1.0, rng=household.rng) == ()


def test_a_machine_says_its_own_size_and_an_admin_its_name() -> None:
    household = Household()
    household.enrolled("laptop")
    laptop = household.machine("laptop")
    with pytest.raises(NotAllowed):
        update(laptop, household.roster, laptop.peer_id, Fact.NAME, "mine")
    with pytest.raises(NotAllowed):
        update(household.first, household.roster, laptop.peer_id, Fact.CAPACITY, 1)
    household.learn(update(household.first, household.roster, laptop.peer_id, Fact.NAME, "mine"))
    household.learn(update(laptop, household.roster, laptop.peer_id, Fact.CAPACITY, 5))
    member = household.roster.member(laptop.peer_id)
    assert member is not None
    assert (member.name, member.capacity_bytes) == ("mine", 5)


def test_an_admin_stays_one_and_names_whom_it_enrolled() -> None:
    household = Household()
    household.enrolled("second", role="admin")
    household.enrolled("guest", by="second")
    with pytest.raises(NotAllowed):
        change_role(household.first, household.roster, household.peer("second"), "member")
    assert household.roster.enrolled_by(household.peer("second")) == [household.peer("guest")]
    assert household.roster.enrolled_by(household.peer("guest")) == []
