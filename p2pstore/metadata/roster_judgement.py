"""Judging membership: which of a set of signed statements stand, and what they amount to.

The rules of authority, in the order in which they are applied:

1. The root (the paper key) may say anything; what it says beats what anybody else says.
2. An admin is an enrolled peer that the root or an admin certified. An admin may enrol, certify, update and remove.
3. Removing an admin takes the root or a *quorum*: votes of other admins of which enough remain, whichever single
   admin's key (other than the subject's) is thought to be a thief's. A vote that such a key could have made alone, by
   being it or by having certified its voter, does not count. So one stolen laptop throws nobody out, however many
   admins it invents; and what an admin itself certified may vote against it.
4. When an admin is removed, what it ever signed is void but for the statements that its removers name as kept.
5. Of two quorums that remove each other, the one with the most senior voter (fewest certificates from the root) acts.
6. A new paper replaces the root by the old root's word, or by that of all admins. Of what the old root signed only
   what its replacement names as kept stays valid. Replaced by the admins alone, the old root can still remove one of
   them, which may undo the replacement: so a stolen only admin does not throw the family out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from p2pstore.ids import GenerationId, PeerId
from p2pstore.keys.generation import Envelope
from p2pstore.keys.identity import peer_id_of
from p2pstore.limits import ROSTER_MEMBERS_MAX, ROSTER_UNPLACED_MAX
from p2pstore.metadata.member import Member, PendingRemoval, PendingRenewal, RemovedPeer
from p2pstore.metadata.roster_statements import (
    SAID_BY_BOTH,
    SELF_SIGNED,
    Certificate,
    Duty,
    Endpoints,
    Enrolment,
    Fact,
    GenerationStatement,
    Genesis,
    NewRoot,
    Reinstatement,
    Removal,
    Renewal,
    Statement,
    StatementId,
    Update,
)

CERTIFICATE_CHAIN_MAX: Final = 16
"""Admins further than this from the root have no authority: a household's chain has two or three links, and a thief's
endless chain must not cost everybody's processors."""


ROOTS_MAX: Final = 64
"""Papers of one household, one after the other; more are not followed, so that an endless chain costs nobody much."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a set of statements amounts to; see `Roster` for what each part means."""

    retained: dict[StatementId, Statement]
    ignored: int
    members: dict[PeerId, Member]
    removed: dict[PeerId, RemovedPeer]
    pending: tuple[PendingRemoval, ...]
    sequences: dict[tuple[PeerId, Fact], int]
    generations: dict[GenerationId, int]
    envelopes: dict[GenerationId, tuple[Envelope, ...]]
    may_remove: Callable[[PeerId, Collection[PeerId]], bool]
    keys: Genesis | NewRoot
    outvoted: frozenset[bytes]
    renewals: tuple[PendingRenewal, ...]


def _without_superseded(statements: Mapping[StatementId, Statement]) -> dict[StatementId, Statement]:
    """Drops what a peer said about itself and has replaced: no judgement can ever fall back on it."""
    newest: dict[tuple[PeerId, Fact], tuple[int, StatementId]] = {}
    for name, statement in statements.items():
        if key := _own_fact(statement):
            newest[key] = max(newest.get(key, (-1, name)), (_sequence(statement), name))
    return {
        name: statement
        for name, statement in sorted(statements.items())
        if (key := _own_fact(statement)) is None or newest[key][1] == name
    }


def _own_fact(statement: Statement) -> tuple[PeerId, Fact] | None:
    body = statement.body
    if isinstance(body, Update) and body.about in SELF_SIGNED and statement.author == body.subject:
        return body.subject, body.about
    return None


def _sequence(statement: Statement) -> int:
    assert isinstance(statement.body, Update | Removal | Reinstatement)
    return statement.body.sequence


@dataclass(frozen=True, slots=True)
class _Said:
    """A statement of one kind, with what judging it needs at hand."""

    id: StatementId
    author: PeerId
    body: Any


class _Court:
    """The statements sorted by kind, and who may say what, given whose authority has ended."""

    def __init__(
        self,
        root: PeerId,
        former: Mapping[PeerId, frozenset[StatementId]],
        statements: Mapping[StatementId, Statement],
    ) -> None:
        self.root = root
        self.former = former
        self.roots = {root, *former}
        said = [_Said(each.id, each.author, each.body) for each in statements.values()]
        self.enrolments = [each for each in said if isinstance(each.body, Enrolment)]
        self.certificates = [each for each in said if isinstance(each.body, Certificate)]
        self.updates = [each for each in said if isinstance(each.body, Update)]
        self.removals = [each for each in said if isinstance(each.body, Removal)]
        self.generations = [each for each in said if isinstance(each.body, GenerationStatement)]
        self.renewals = [each for each in said if isinstance(each.body, Renewal)]
        self.reinstatements = [each for each in said if isinstance(each.body, Reinstatement)]
        self.ended: dict[PeerId, frozenset[StatementId]] = {}
        self.ended_by: dict[PeerId, list[_Said]] = {}
        self.immune: frozenset[PeerId] = frozenset()
        self.admins: dict[PeerId, int] = {}
        self.enrolled: dict[PeerId, _Said] = {}
        self._find_admins()

    def stands(self, said: _Said) -> bool:
        """Whether its author had the right to say it (for kinds that take an admin)."""
        if said.author in self.roots:
            return self.by_root(said)
        if said.author not in self.admins:
            return False
        kept = self.ended.get(said.author)
        return kept is None or said.id in kept

    def by_root(self, said: _Said) -> bool:
        """Whether the root says it, or a former one said it and that stays valid."""
        return said.author == self.root or said.id in self.former.get(said.author, ())

    def end(self, peer: PeerId, votes: list[_Said]) -> None:
        """The authority of `peer` is over, but for what these removals keep."""
        self.ended[peer] = frozenset(name for each in votes for name in each.body.kept)
        self.ended_by[peer] = votes
        self._find_admins()

    def votes_against(self, peer: PeerId) -> list[_Said]:
        """Standing removals of `peer`."""
        return [each for each in self.removals if each.body.subject == peer and self.stands(each)]

    def _find_admins(self) -> None:
        """Least fixed point: `admins` (with their distance from the root) and `enrolled`."""
        self.admins, self.enrolled = {}, {}
        while True:
            enrolled = self._standing_enrolments()
            links = self._links(enrolled)
            admins = _reach(self.roots, links)
            for root in self.roots:
                del admins[root]
            if admins == self.admins and enrolled.keys() == self.enrolled.keys():
                self.enrolled = enrolled
                return
            self.admins, self.enrolled = admins, enrolled

    def _standing_enrolments(self) -> dict[PeerId, _Said]:
        chosen: dict[PeerId, tuple[tuple[int, float, StatementId], _Said]] = {}
        for said in self.enrolments:
            if not self.stands(said):
                continue
            # The senior admin's word counts; of one admin's, the later: a machine that was invited a second time.
            rank = (self.admins.get(said.author, 0), -said.body.joined_s, said.id)
            peer = said.body.card.peer_id
            if peer not in chosen or rank < chosen[peer][0]:
                chosen[peer] = (rank, said)
        return {peer: chosen[peer][1] for peer in sorted(chosen, key=lambda peer: chosen[peer][0])}

    def _links(self, enrolled: Mapping[PeerId, _Said]) -> dict[PeerId, list[PeerId]]:
        """Who certified whom, by standing statements about enrolled peers."""
        links: dict[PeerId, list[PeerId]] = {}
        for said in self.certificates:
            if said.body.subject in enrolled and self._uttered(said):
                links.setdefault(said.author, []).append(said.body.subject)
        for said in self.enrolments:
            if said.body.profile.role == "admin" and said.body.card.peer_id in enrolled and self._uttered(said):
                links.setdefault(said.author, []).append(said.body.card.peer_id)
        return links

    def _uttered(self, said: _Said) -> bool:
        """Not void by the end of its author's authority; whether the author had any, the walk from the root finds."""
        if said.author in self.roots:
            return self.by_root(said)
        kept = self.ended.get(said.author)
        return kept is None or said.id in kept

    def may_remove(self, subject: PeerId, voters: Collection[PeerId]) -> bool:
        """Whether removals by these admins would remove `subject`."""
        able = [voter for voter in voters if voter in self.admins]
        return bool(able) if subject not in self.admins else self.is_quorum(subject, able)

    def is_quorum(self, subject: PeerId, voters: Collection[PeerId]) -> bool:
        """Whether these votes would remain without any single other admin's key (rule 3)."""
        others = sorted((voter for voter in voters if voter != subject), key=lambda each: (self.admins[each], each))
        if not others:
            return False
        links = self._links(self.enrolled)
        sources = {*self.roots, subject}
        # A key that could have made all votes lies on every way to the first voter, hence on any one way.
        for suspect in _way(sources, others[0], links):
            if not _reach(sources, links, without=suspect).keys() & set(others):
                return False
        return True


def _reach(
    sources: set[PeerId], links: Mapping[PeerId, list[PeerId]], *, without: PeerId | None = None
) -> dict[PeerId, int]:
    """Who is certified, at which distance, by ways from `sources` that avoid `without`."""
    distance = dict.fromkeys(sorted(sources), 0)
    front = sorted(sources)
    for _ in range(CERTIFICATE_CHAIN_MAX):
        following: list[PeerId] = []
        for author in front:
            for subject in links.get(author, ()):
                if subject not in distance and subject != without:
                    distance[subject] = distance[author] + 1
                    following.append(subject)
        front = following
    return distance


def _way(sources: set[PeerId], goal: PeerId, links: Mapping[PeerId, list[PeerId]]) -> list[PeerId]:
    """The peers on one shortest way from `sources` to `goal`, the goal included and the sources not."""
    came_from: dict[PeerId, PeerId] = {}
    seen, front = set(sources), sorted(sources)
    while front and goal not in came_from:
        following: list[PeerId] = []
        for author in front:
            for subject in links.get(author, ()):
                if subject not in seen:
                    seen.add(subject)
                    came_from[subject] = author
                    following.append(subject)
        front = following
    way = [goal]
    while (before := came_from[way[-1]]) not in sources:
        way.append(before)
    return way


def judge(genesis: Genesis, statements: Mapping[StatementId, Statement]) -> Judged:
    """Who is a member, and of which keys, by these statements (all verified, of one household)."""
    statements = _without_superseded(statements)
    court, keys, outvoted, used = _enthrone(genesis, statements)
    gone, pending = _gone(court)
    renewals = _pending_renewals(court, keys)
    voted = {name for each in renewals for name in each.statements}
    standing = {said.id for said in _standing(court)} | used | voted
    facts, sequences = _facts(court)
    members = _members(court, gone, facts)
    generations, envelopes = _generations(court)
    unplaced = [
        name
        for name, each in sorted(statements.items())
        if name not in standing and not isinstance(each.body, Genesis)
    ]
    dropped = frozenset(unplaced[ROSTER_UNPLACED_MAX:])
    return Judged(
        retained={name: each for name, each in statements.items() if name not in dropped},
        ignored=len(unplaced),
        members=members,
        removed={
            peer: _removed(court, peer, votes, facts.get(peer, {}))
            for peer, votes in gone.items()
            if peer in court.enrolled
        },
        pending=pending,
        sequences=sequences,
        generations=generations,
        envelopes=envelopes,
        may_remove=court.may_remove,
        keys=keys,
        outvoted=outvoted,
        renewals=renewals,
    )


def _enthrone(
    genesis: Genesis, statements: Mapping[StatementId, Statement]
) -> tuple[_Court, Genesis | NewRoot, frozenset[bytes], set[StatementId]]:
    """Follow the replacements of the root from the genesis on.

    Returns:
        The court under the last root, that root's keys, the former roots that only admins have replaced, and the
        renewals that counted.
    """
    keys: Genesis | NewRoot = genesis
    former: dict[PeerId, frozenset[StatementId]] = {}
    outvoted: set[bytes] = set()
    used: set[StatementId] = set()
    while True:
        root = peer_id_of(keys.root_public)
        court = _Court(root, former, statements)
        _apply_root(court)
        _apply_quorums(court)
        votes = _winning_renewal(court, keys)
        if not votes or len(former) >= ROOTS_MAX:
            return court, keys, frozenset(outvoted), used
        if not any(each.author == root for each in votes):
            outvoted.add(keys.root_public)
        former[root] = frozenset(name for each in votes for name in each.body.kept)
        used |= {each.id for each in votes}
        keys = votes[0].body.new


def _renewal_votes(court: _Court, keys: Genesis | NewRoot) -> dict[NewRoot, list[_Said]]:
    """Who says by which keys the root is to be replaced: itself, and admins in good standing."""
    roots = {peer_id_of(keys.root_public), *court.former}
    votes: dict[NewRoot, list[_Said]] = {}
    for said in sorted(court.renewals, key=lambda each: each.id):
        new: NewRoot = said.body.new
        if new.replaced == keys.root_public and peer_id_of(new.root_public) not in roots and (
            said.author == court.root or (said.author in court.admins and said.author not in court.ended)
        ):
            votes.setdefault(new, []).append(said)
    return votes


def _winning_renewal(court: _Court, keys: Genesis | NewRoot) -> list[_Said]:
    """The votes for the replacement that counts; [] for none.

    Of several that the old root has signed, the one with all admins behind it counts, then the one with most of them:
    who has but a copy of the paper has none.
    """
    admins = {peer for peer in court.admins if peer not in court.ended}
    best: tuple[tuple[bool, int, bytes], list[_Said]] | None = None
    for new, votes in _renewal_votes(court, keys).items():
        voters = {each.author for each in votes} & admins
        by_all = bool(admins) and voters == admins
        if by_all or any(each.author == court.root for each in votes):
            rank = (not by_all, -len(voters), new.root_public)
            if best is None or rank < best[0]:
                best = rank, votes
    return [] if best is None else best[1]


def _pending_renewals(court: _Court, keys: Genesis | NewRoot) -> tuple[PendingRenewal, ...]:
    """Votes of admins for a new paper that do not suffice yet."""
    return tuple(
        PendingRenewal(new, tuple(sorted({each.author for each in votes})), tuple(each.id for each in votes))
        for new, votes in sorted(_renewal_votes(court, keys).items(), key=lambda each: each[0].root_public)
    )


def _apply_root(court: _Court) -> None:
    """Rule 1: the root's removals and reinstatements, of which the higher sequence counts, then removal."""
    reinstated: dict[PeerId, int] = {}
    for said in court.reinstatements:
        if court.by_root(said):
            reinstated[said.body.subject] = max(reinstated.get(said.body.subject, -1), said.body.sequence)
    removed: dict[PeerId, int] = {}
    for said in court.removals:
        if court.by_root(said):
            removed[said.body.subject] = max(removed.get(said.body.subject, -1), said.body.sequence)
    court.immune = frozenset(peer for peer, sequence in reinstated.items() if sequence > removed.get(peer, -1))
    for peer, sequence in sorted(removed.items()):
        if peer not in court.immune:
            votes = [each for each in court.removals if court.by_root(each) and each.body.subject == peer]
            court.end(peer, [each for each in votes if each.body.sequence == sequence])


def _apply_quorums(court: _Court) -> None:
    """Rules 3 to 5: removals of admins by admins, one after the other until none is left that counts."""
    while True:
        best: tuple[int, PeerId] | None = None
        for subject in sorted({each.body.subject for each in court.removals}):
            if subject in court.ended or subject in court.immune or subject not in court.admins:
                continue
            voters = {each.author for each in court.votes_against(subject) if each.author not in court.roots}
            if court.is_quorum(subject, voters):
                rank = (min(court.admins[each] for each in voters if each != subject), subject)
                best = rank if best is None else min(best, rank)
        if best is None:
            return
        court.end(best[1], [each for each in court.votes_against(best[1]) if each.author != best[1]])


def _gone(court: _Court) -> tuple[dict[PeerId, list[_Said]], tuple[PendingRemoval, ...]]:
    """Everybody removed, with the votes that did it; and votes against admins that do not suffice."""
    gone: dict[PeerId, list[_Said]] = {}
    pending: list[PendingRemoval] = []
    for subject in sorted({each.body.subject for each in court.removals}):
        if subject in court.immune:
            continue
        votes = court.votes_against(subject)
        own = [each for each in court.removals if each.body.subject == subject == each.author]
        if subject in court.ended:
            gone[subject] = court.ended_by[subject]
        elif subject not in court.admins and (votes or own):
            gone[subject] = votes or own
        elif votes:
            pending.append(PendingRemoval(subject, tuple(sorted({each.author for each in votes}))))
    return gone, tuple(pending)


def _standing(court: _Court) -> list[_Said]:
    """Every statement that its author had the right to make."""
    by_admins = [
        *court.enrolments,
        *court.certificates,
        *court.removals,
        *court.generations,
        *(each for each in court.updates if each.body.about not in SELF_SIGNED),
    ]
    return [
        *(each for each in by_admins if court.stands(each)),
        *(each for each in court.reinstatements if court.by_root(each)),
        *(each for each in court.removals if each.author == each.body.subject and each.author in court.enrolled),
        *(
            each
            for each in court.updates
            if each.body.about in SELF_SIGNED | SAID_BY_BOTH and _may_describe(court, each)
        ),
    ]


def _may_describe(court: _Court, said: _Said) -> bool:
    return said.body.subject in court.enrolled and (
        said.author == said.body.subject or court.by_root(said)
    )


def _removed(court: _Court, peer: PeerId, votes: Iterable[_Said], facts: Mapping[Fact, Any]) -> RemovedPeer:
    found = list(votes)
    return RemovedPeer(
        peer,
        facts.get(Fact.NAME, court.enrolled[peer].body.profile.name),
        tuple(sorted({each.author for each in found})),
        min(each.body.stated_s for each in found),
        tuple(sorted({each.body.cut for each in found})),
        facts.get(Fact.DUTY, Duty.STAYS) != Duty.STAYS,
        court.enrolled[peer].body.card.curve_public,
        facts.get(Fact.SUCCESSOR) or None,
    )


def _may_say(court: _Court, said: _Said) -> bool:
    about = said.body.about
    if about in SELF_SIGNED | SAID_BY_BOTH and _may_describe(court, said):
        return True
    return about not in SELF_SIGNED and court.stands(said)


def _facts(court: _Court) -> tuple[dict[PeerId, dict[Fact, Any]], dict[tuple[PeerId, Fact], int]]:
    """The latest word on every fact about every peer, and its sequence."""
    facts: dict[tuple[PeerId, Fact], tuple[bool, int, StatementId, Any]] = {}
    sequences: dict[tuple[PeerId, Fact], int] = {}
    for said in court.updates:
        update: Update = said.body
        if not _may_say(court, said):
            continue
        key = (update.subject, update.about)
        rank = (said.author in court.roots, update.sequence, said.id, update.value)
        sequences[key] = max(sequences.get(key, 0), update.sequence)
        if key not in facts or rank[:3] > facts[key][:3]:
            facts[key] = rank
    of_peer: dict[PeerId, dict[Fact, Any]] = {}
    for (subject, about), fact in facts.items():
        of_peer.setdefault(subject, {})[about] = fact[3]
    return of_peer, sequences


def _members(
    court: _Court, gone: Collection[PeerId], of_peer: Mapping[PeerId, Mapping[Fact, Any]]
) -> dict[PeerId, Member]:
    # `enrolled` is in order of seniority: of more than a household can have, the senior admins' newcomers count.
    present = [peer for peer in court.enrolled if peer not in gone][:ROSTER_MEMBERS_MAX]
    described = {peer: _describe(court, peer, of_peer.get(peer, {})) for peer in present}
    return _with_unique_names(described)


def _describe(court: _Court, peer: PeerId, facts: Mapping[Fact, Any]) -> Member:
    enrolment: Enrolment = court.enrolled[peer].body
    profile = enrolment.profile
    role = facts.get(Fact.ROLE, profile.role)
    if peer in court.admins:
        role = "admin"
    elif role == "admin":
        role = "member"  # its enrolment says so, but it is too far from the root
    return Member(
        peer_id=peer,
        name=facts.get(Fact.NAME, profile.name),
        public=enrolment.card.public,
        curve_public=enrolment.card.curve_public,
        role=role,
        site=facts.get(Fact.SITE, profile.site),
        steadiness=facts.get(Fact.STEADINESS, profile.steadiness),
        capacity_bytes=facts.get(Fact.CAPACITY, profile.capacity_bytes),
        joined=enrolment.joined_s,
        endpoints=facts.get(Fact.ENDPOINTS, Endpoints()),
        duty=Duty(facts.get(Fact.DUTY, Duty.STAYS)),
        successor=facts.get(Fact.SUCCESSOR) or None,
    )


def _with_unique_names(members: Mapping[PeerId, Member]) -> dict[PeerId, Member]:
    """Who joined first keeps its name; the others of that name get the first free of name-2, name-3, ..."""
    by_age = sorted(members.values(), key=lambda each: (each.joined, each.peer_id))
    taken: dict[str, PeerId] = {}
    for member in by_age:
        taken.setdefault(member.name.casefold(), member.peer_id)
    named: dict[PeerId, Member] = {}
    for member in by_age:
        name, number = member.name, 1
        while taken.setdefault(name.casefold(), member.peer_id) != member.peer_id:
            number += 1
            name = f"{member.name}-{number}"
        named[member.peer_id] = _renamed(member, name)
    return named


def _renamed(member: Member, name: str) -> Member:
    return member if member.name == name else replace(member, name=name)


def _generations(court: _Court) -> tuple[dict[GenerationId, int], dict[GenerationId, tuple[Envelope, ...]]]:
    numbers: dict[GenerationId, int] = {}
    envelopes: dict[GenerationId, list[Envelope]] = {}
    for said in court.generations:
        if court.stands(said):
            numbers[said.body.generation] = max(numbers.get(said.body.generation, 0), said.body.number)
    for said in [*court.generations, *court.enrolments]:
        if court.stands(said):
            for envelope in said.body.envelopes:
                envelopes.setdefault(envelope.generation, []).append(envelope)
    ordered = {
        name: tuple(sorted(found, key=lambda each: (each.recipient, each.sealed))) for name, found in envelopes.items()
    }
    return numbers, ordered
