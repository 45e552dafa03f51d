"""Who counts, what is due, who repairs and what that adds."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.ids import EncodingId, PeerId
from p2pstore.placement.promise import PROMISES, Promise, stripe_health
from p2pstore.placement.ranking import Offer, plain_offers
from p2pstore.placement.repair import (
    DAY_S,
    HOUR_S,
    RULES,
    Cause,
    Machine,
    Silence,
    Standing,
    judge,
    plan_repair,
    repairers,
    rows_of_absent,
    standings,
    staying,
    turn_after_s,
)

STANDINGS = st.sampled_from(list(Standing))
NEVER = float("inf")


def peer(number: int) -> PeerId:
    return PeerId(bytes([number]) * 32)


def offers(*numbers: int) -> list[Offer]:
    return plain_offers([peer(number) for number in numbers], {})


SITES = {peer(number): "cabin" if number % 3 == 2 else "home" for number in range(10)}


def machine(number: int, steadiness: str = "always-on", site: str = "home") -> Machine:
    return Machine(peer(number), site, steadiness)


def silent(hours: float, *, proven_hours: float | None = None) -> Silence:
    return Silence(False, hours * HOUR_S, (hours if proven_hours is None else proven_hours) * HOUR_S)


HEARD = Silence(True, 0.0, 3 * HOUR_S)


def standing_of(steadiness: str, silence: Silence) -> Standing:
    """Of one machine among five that answer."""
    machines = [machine(number) for number in range(6)] + [machine(9, steadiness)]
    silences = {peer(number): HEARD for number in range(1, 6)} | {peer(9): silence}
    return standings(peer(0), machines, silences)[peer(9)]


@pytest.mark.parametrize(
    ("steadiness", "hours", "standing"),
    [
        ("always-on", 23, Standing.ASLEEP),
        ("always-on", 25, Standing.GONE),
        ("desktop", 71, Standing.ASLEEP),
        ("desktop", 73, Standing.GONE),
        ("laptop", 7 * 24 - 1, Standing.ASLEEP),
        ("laptop", 7 * 24 + 1, Standing.GONE),
        ("of a newer build", 71, Standing.ASLEEP),
        ("of a newer build", 73, Standing.GONE),
    ],
)
def test_a_silent_machine_counts_until_its_grace_ends(steadiness: str, hours: float, standing: Standing) -> None:
    assert standing_of(steadiness, silent(hours)) is standing


def test_who_was_away_itself_takes_nobody_for_gone() -> None:
    back_from_a_year = silent(0.1, proven_hours=365 * 24)
    assert standing_of("always-on", back_from_a_year) is Standing.OVERDUE
    assert not Standing.OVERDUE.counts


def test_a_wall_clock_that_was_set_back_makes_nobody_count_longer() -> None:
    assert standing_of("always-on", silent(25, proven_hours=0)) is Standing.GONE


def test_a_word_older_than_35_days_does_not_count_even_of_a_machine_that_answers() -> None:
    assert standing_of("laptop", Silence(True, 0.0, 36 * DAY_S)) is Standing.OVERDUE
    assert standing_of("laptop", Silence(True, 0.0, 34 * DAY_S)) is Standing.ANSWERS


def test_a_machine_that_was_never_heard_is_not_taken_for_gone() -> None:
    found = standings(peer(0), [machine(0), machine(1)], {})
    assert found == {peer(0): Standing.ANSWERS, peer(1): Standing.OVERDUE}


def test_when_every_machine_of_another_site_is_silent_it_may_be_our_link() -> None:
    machines = [machine(n) for n in range(4)] + [machine(4, site="cabin"), machine(5, "laptop", site="cabin")]
    silences = {peer(n): HEARD for n in range(1, 4)} | {peer(4): silent(30), peer(5): silent(30)}
    assert standings(peer(0), machines, silences)[peer(4)] is Standing.PATIENCE
    silences[peer(5)] = HEARD
    assert standings(peer(0), machines, silences)[peer(4)] is Standing.GONE


def test_when_more_than_half_are_silent_it_may_be_our_link() -> None:
    machines = [machine(n) for n in range(6)]
    silences = {peer(n): HEARD for n in range(1, 6)}
    for gone in (1, 2):
        silences[peer(gone)] = silent(30)
        assert standings(peer(0), machines, silences)[peer(1)] is Standing.GONE
    silences[peer(3)] = silent(13)
    assert standings(peer(0), machines, silences)[peer(1)] is Standing.PATIENCE


def test_a_night_is_no_common_silence() -> None:
    machines = [machine(0), machine(1), *(machine(n, "laptop") for n in range(2, 6))]
    silences = {peer(1): silent(30)} | {peer(n): silent(9) for n in range(2, 6)}
    assert standings(peer(0), machines, silences)[peer(1)] is Standing.GONE


def test_when_a_link_is_back_the_first_to_return_does_not_make_the_others_gone() -> None:
    machines = [machine(0), machine(1), *(machine(n, site="cabin") for n in (2, 3, 4))]
    silences = {peer(1): HEARD, peer(2): HEARD} | {peer(n): silent(30) for n in (3, 4)}
    for minutes, standing in ((0, Standing.PATIENCE), (59, Standing.PATIENCE), (61, Standing.GONE)):
        found = standings(peer(0), machines, silences, since_common_s=minutes * 60.0)
        assert found[peer(3)] is standing


def test_patience_ends_after_fourteen_days() -> None:
    machines = [machine(0), machine(1, site="cabin")]
    for hours, standing in ((13.9 * 24, Standing.PATIENCE), (14.1 * 24, Standing.GONE)):
        assert standings(peer(0), machines, {peer(1): silent(hours)})[peer(1)] is standing


def test_a_link_that_went_down_rebuilds_nothing_at_any_moment_of_two_weeks() -> None:
    """Three machines here, three there; heard up to ten seconds apart when the link went down."""
    there = [machine(3, site="b"), machine(4, "desktop", site="b"), machine(5, "laptop", site="b")]
    machines = [machine(0, site="a"), machine(1, site="a"), machine(2, "laptop", site="a"), *there]
    for minute in range(0, 14 * 24 * 60 - 1, 7):
        silences = {peer(1): HEARD, peer(2): HEARD}
        for apart, each in enumerate(there):
            seconds = max(0.0, minute * 60 - 5.0 * apart)
            silences[each.peer] = Silence(False, seconds, seconds)
        assert Standing.GONE not in standings(peer(0), machines, silences).values(), minute


ANSWERS6 = {peer(n): Standing.ANSWERS for n in range(6)}
FOUR_OF_SIX = {peer(n): [n] for n in range(6)}


def test_a_stripe_that_keeps_its_promise_without_the_gone_is_not_due() -> None:
    three = {peer(n): [n] for n in range(3)}
    judgement = judge(1, three, ANSWERS6 | {peer(2): Standing.GONE}, Promise.ANY_1)
    assert not judgement.due
    assert judgement.margin == 1


@pytest.mark.parametrize("standing", [Standing.ASLEEP, Standing.OVERDUE, Standing.PATIENCE])
def test_nothing_is_due_for_a_machine_that_is_not_gone(standing: Standing) -> None:
    judgement = judge(4, FOUR_OF_SIX, ANSWERS6 | {peer(2): standing}, Promise.ANY_2)
    assert not judgement.due
    assert (judgement.health.survives == 2) == standing.counts


def test_why_a_stripe_is_due() -> None:
    five_members = {p: s for p, s in ANSWERS6.items() if p != peer(5)}
    removed = judge(4, FOUR_OF_SIX, five_members, Promise.ANY_2)
    assert (removed.due, removed.margin, removed.causes, removed.without) == (True, 1, (Cause.REMOVED,), (peer(5),))
    gone = judge(4, FOUR_OF_SIX, ANSWERS6 | {peer(1): Standing.GONE}, Promise.ANY_2)
    assert (gone.causes, gone.without) == ((Cause.SILENT,), (peer(1),))
    lost = judge(4, {peer(n): [n] for n in range(5)}, ANSWERS6, Promise.ANY_2)
    assert (lost.due, lost.causes, lost.without) == (True, (Cause.LOST,), ())
    unreadable = judge(4, {peer(n): [n] for n in range(3)}, ANSWERS6, Promise.ANY_2)
    assert unreadable.margin == -1


def test_the_nearest_holder_that_answers_repairs() -> None:
    encoding = EncodingId(bytes([4]) * 32)
    held = {peer(n): [n] for n in (1, 4, 5, 6)}
    assert repairers(encoding, held, [peer(n) for n in range(9)]) == [peer(4), peer(5), peer(6), peer(1)]
    assert repairers(encoding, held, [peer(1), peer(6), peer(7)]) == [peer(6), peer(1)]


def test_the_next_takes_over_later_and_a_stripe_at_the_edge_waits_a_tenth() -> None:
    calm = judge(4, FOUR_OF_SIX, ANSWERS6 | {peer(1): Standing.GONE}, Promise.ANY_2)
    edge = judge(4, FOUR_OF_SIX, ANSWERS6 | {peer(n): Standing.GONE for n in (1, 2)}, Promise.ANY_2)
    assert [turn_after_s(rank, calm) for rank in range(3)] == [0, RULES.takeover_s, 2 * RULES.takeover_s]
    assert [turn_after_s(rank, edge) for rank in range(2)] == [0, RULES.takeover_s / 10]


def test_a_lost_shard_is_its_holders_to_rebuild_first() -> None:
    lost = judge(4, {peer(n): [n] for n in range(5)}, ANSWERS6, Promise.ANY_2)
    assert turn_after_s(0, lost) == RULES.settle_s


def test_new_rows_are_none_that_a_silent_machine_may_bring_back() -> None:
    standing = ANSWERS6 | {peer(5): Standing.GONE}
    held = FOUR_OF_SIX
    plan = plan_repair(4, held, standing, offers(*range(5)), Promise.ANY_2)
    assert plan.keeps
    assert rows_of_absent(held, standing) == {5}
    assert not {index for _, index in plan.added} & {5}
    everybody = {p: [*held[p], *(i for q, i in plan.added if q == p)] for p in held}
    assert stripe_health(4, everybody).survives > plan.health.survives - 1


def test_rows_of_a_removed_machine_are_used_again() -> None:
    five = {p: s for p, s in ANSWERS6.items() if p != peer(5)}
    plan = plan_repair(4, FOUR_OF_SIX, five, offers(*range(5)), Promise.ANY_2)
    assert 5 in {index for _, index in plan.added}


def test_a_seventh_machine_takes_the_one_row_that_is_missing() -> None:
    standing = ANSWERS6 | {peer(5): Standing.GONE, peer(6): Standing.ANSWERS}
    plan = plan_repair(4, FOUR_OF_SIX, standing, offers(0, 6, 1, 2), Promise.ANY_2)
    assert [where for where, _ in plan.added] == [peer(6)]
    assert plan.keeps


def test_who_leaves_counts_while_it_is_there_and_is_made_up_for_all_the_same() -> None:
    leaving = ANSWERS6 | {peer(0): Standing.LEAVING, peer(6): Standing.ANSWERS}
    judgement = judge(4, FOUR_OF_SIX, leaving, Promise.ANY_2)
    assert judgement.health.keeps(Promise.ANY_2)
    assert judgement.due
    assert judgement.causes == (Cause.LEAVING,)
    plan = plan_repair(4, FOUR_OF_SIX, leaving, offers(6), Promise.ANY_2)
    assert plan.keeps


@pytest.mark.parametrize(("answers", "expected"), [(True, Standing.LEAVING), (False, Standing.GONE)])
def test_who_leaves_and_is_silent_beyond_its_grace_is_gone_at_once(answers: bool, expected: Standing) -> None:
    machines = [Machine(peer(0), "home", "desktop"), Machine(peer(1), "home", "desktop", leaves=True)]
    silence = Silence(answers, 0.0 if answers else 1e6, 0.0 if answers else 1e6)
    assert standings(peer(0), machines, {peer(1): silence})[peer(1)] is expected


def test_nothing_is_added_that_would_not_help() -> None:
    standing = {peer(0): Standing.ANSWERS, peer(1): Standing.GONE}
    plan = plan_repair(1, {peer(0): [0], peer(1): [1]}, standing, offers(0), Promise.ANY_1)
    assert plan.added == ()
    assert not plan.keeps


@st.composite
def stripes(draw: st.DrawFn) -> tuple[int, dict[PeerId, list[int]], dict[PeerId, Standing]]:
    """k, who announced what, and every member's standing; some holders are members no longer."""
    needed = draw(st.integers(1, 6))
    peers = [peer(number) for number in range(draw(st.integers(1, 8)))]
    held = {each: sorted(draw(st.sets(st.integers(0, needed + 4), max_size=3))) for each in peers}
    members = draw(st.sets(st.sampled_from(peers), min_size=1))
    return needed, held, {each: draw(STANDINGS) for each in sorted(members)}


@given(stripes(), st.sampled_from(list(PROMISES)))
def test_due_means_that_some_promised_failure_beside_those_who_are_gone_would_lose_it(
    stripe: tuple[int, dict[PeerId, list[int]], dict[PeerId, Standing]], promise: Promise
) -> None:
    needed, held, standing = stripe
    left = {p: i for p, i in held.items() if i and standing.get(p, Standing.GONE).stays}

    def readable(without: tuple[PeerId, ...]) -> bool:
        return len({i for p, indices in left.items() if p not in without for i in indices}) >= needed

    losses = [failed for size in range(promise.machines + 1) for failed in combinations(sorted(left), size)]
    houses = {SITES[each] for each in left}
    if promise.house:
        losses += [tuple(each for each in left if SITES[each] == house) for house in houses]
    survived = all(readable(failed) for failed in losses) and (needed > 1 or len(left) > promise.machines)
    enough = len(left) > promise.machines or needed == 1
    if enough:
        assert judge(needed, held, standing, promise, SITES).due == (not survived)


@given(stripes(), st.sampled_from(list(PROMISES)))
def test_the_verdict_never_counts_more_than_the_repair_does(
    stripe: tuple[int, dict[PeerId, list[int]], dict[PeerId, Standing]], promise: Promise
) -> None:
    needed, held, standing = stripe
    # Who leaves is there yet, and counts, while repair builds on others already.
    standing = {p: Standing.ANSWERS if each is Standing.LEAVING else each for p, each in standing.items()}
    judgement = judge(needed, held, standing, promise, SITES)
    assert judgement.health.survives <= judgement.margin
    if judgement.health.keeps(promise):
        assert not judgement.due


@given(stripes(), st.sampled_from(list(PROMISES)), st.permutations([peer(number) for number in range(10)]))
def test_a_repair_only_adds_and_what_it_adds_helps(
    stripe: tuple[int, dict[PeerId, list[int]], dict[PeerId, Standing]],
    promise: Promise,
    ranked: list[PeerId],
) -> None:
    needed, held, standing = stripe
    ranked = [each for each in ranked if standing.get(each, Standing.ANSWERS) is Standing.ANSWERS]
    plan = plan_repair(needed, held, standing, plain_offers(ranked, SITES), promise, SITES)
    left = {p: list(indices) for p, indices in staying(held, standing).items()}
    before = stripe_health(needed, left, SITES)
    for where, index in plan.added:
        assert where in ranked
        assert index not in left.setdefault(where, [])
        left[where].append(index)
    assert stripe_health(needed, left, SITES) == plan.health
    assert plan.health.rank > before.rank if plan.added else plan.health == before
    assert plan.keeps == plan.health.keeps(promise)
