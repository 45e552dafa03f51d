"""Machines that leave in good order, and those that take over from others.

```
peers.retire {name, anyway, stays}     what it holds is written elsewhere and read back, then it is removed and erased
peers.replace {old, new, dead}         the same, and NEW is who takes over; `dead`: OLD is gone for good
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.ids import PeerId
from p2pstore.metadata.member import Member
from p2pstore.metadata.roster_changes import change_role, demand_admin, retire
from p2pstore.metadata.roster_statements import Duty
from p2pstore.node import Node


class DepartureOperations:
    """The operations of one daemon on departures."""

    def __init__(
        self,
        node: Node,
        *,
        member: Callable[[str], Member],
        remove: Callable[[Call, Member], Awaitable[dict[str, Any]]],
    ) -> None:
        """
        Args:
            node: the services.
            member: who is meant by a name; raises Failure.
            remove: removes a member at once, signed as the call says.
        """
        self._node = node
        self._member = member
        self._remove = remove

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"peers.retire": self.retire, "peers.replace": self.replace}

    async def retire(self, call: Call) -> dict[str, Any]:
        """Have a machine leave, or stay after all."""
        member = self._member(arguments.text(call.args, "name"))
        if arguments.flag(call.args, "stays"):
            if member.leaves:
                await self._state(member, Duty.STAYS, None)
            return self._answer(member, Duty.STAYS, [])
        self._demand_may_say(member)
        reasons = await self._reasons(member)
        anyway = arguments.flag(call.args, "anyway")
        if reasons and not anyway:
            fix = (f"p2pstore peers retire {member.name} --anyway", f"p2pstore safe --what-if {member.name}")
            what = f"{member.name} cannot leave without a promise being broken"
            raise Failure(Fault("cannot-leave", what, "; ".join(reasons), fix, exits.REFUSED))
        duty = Duty.LEAVES_ANYWAY if reasons else Duty.LEAVES
        if (member.duty, member.successor) != (duty, None):
            await self._state(member, duty, None)
        return self._answer(member, duty, reasons)

    async def replace(self, call: Call) -> dict[str, Any]:
        """Have a machine take over from another."""
        old, new = self._member(arguments.text(call.args, "old")), self._member(arguments.text(call.args, "new"))
        dead = arguments.flag(call.args, "dead")
        membership = self._node.membership
        if old.peer_id == new.peer_id:
            raise _refused("same-machine", f"{old.name} cannot replace itself", "", "p2pstore peers")
        if new.leaves:
            raise _refused("leaving", f"{new.name} leaves itself", "", f"p2pstore peers retire {new.name} --cancel")
        here = self._answers(old.peer_id)
        if dead and here:
            fix = f"p2pstore peers replace {old.name} {new.name}"
            raise _refused("answers", f"{old.name} answers: it is not dead", "it can help to move what it holds", fix)
        if not dead and not here:
            fix = f"p2pstore peers replace {old.name} {new.name} --dead"
            why = "switch it on; if it is gone for good, say so"
            raise _refused("away", f"{old.name} does not answer", why, fix)
        self._demand_may_say(old)
        room, wanted = self._room(new), (await self._node.ledger.held_by(old.peer_id))[1]
        if room < wanted:
            why = f"it has room for {room:,} bytes, and {old.name} holds {wanted:,}"
            raise _refused("too-small", f"{new.name} is too small", why, f"on {new.name}: p2pstore peers limit SIZE")
        if old.role == "admin" and new.role != "admin":
            demand_admin(membership.identity, membership.roster)
            said = change_role(membership.identity, membership.roster, new.peer_id, "admin")
            await membership.change(membership.identity, said)
        duty = Duty.LEAVES
        if (old.duty, old.successor) != (duty, new.peer_id):
            await self._state(old, duty, new)
        removal = await self._remove(call, old) if dead else None
        answer = self._answer(old, duty, [])
        next_steps = answer.pop("next") if removal is None else removal["next"]
        removed = removal is not None and removal["removed"]
        return {**answer, "new": new.name, "bytes": wanted, "removed": removed, "next": next_steps}

    # --- the same for both ----------------------------------------------------------------------------------------

    def _demand_may_say(self, member: Member) -> None:
        membership = self._node.membership
        if member.peer_id != membership.me:
            demand_admin(membership.identity, membership.roster)

    async def _state(self, member: Member, duty: Duty, successor: Member | None) -> None:
        membership = self._node.membership
        heir = None if successor is None else successor.peer_id
        statements = retire(membership.identity, membership.roster, member.peer_id, duty, heir)
        await membership.change(membership.identity, statements)

    async def _reasons(self, member: Member) -> list[str]:
        """What would be worse when it is gone."""
        node = self._node
        answer = await node.outlooks.draining(member.peer_id, node.own_condition())
        return [] if answer.possible else list(answer.reasons)

    def _answers(self, peer: PeerId) -> bool:
        return peer == self._node.membership.me or self._node.liveness.answers(peer)

    def _room(self, member: Member) -> int:
        """What a machine that answers would take; 0 for one that does not."""
        if not self._answers(member.peer_id):
            return 0
        if member.peer_id == self._node.membership.me:
            return self._node.own_condition().accepts_bytes
        return self._node.liveness.known()[member.peer_id].condition.accepts_bytes

    def _answer(self, member: Member, duty: Duty, consequences: list[str]) -> dict[str, Any]:
        """What a person is told."""
        leaves = duty is not Duty.STAYS
        next_steps = []
        if leaves:
            next_steps = ["p2pstore peers"]
            if not self._answers(member.peer_id):
                next_steps.append(f"switch {member.name} on: it goes when it has heard of it")
            if member.role == "admin" and not self._admins_suffice(member):
                step = f"when it is done, with the paper key: p2pstore peers forget {member.name} --with-paper-key"
                next_steps.append(step)
        return {
            "name": member.name,
            "peer_id": member.peer_id.hex(),
            "leaves": leaves,
            "anyway": duty is Duty.LEAVES_ANYWAY,
            "answers": self._answers(member.peer_id),
            "consequences": consequences,
            "next": next_steps,
        }

    def _admins_suffice(self, member: Member) -> bool:
        """Whether those who stay may remove an admin by themselves."""
        roster = self._node.membership.roster
        voters = [each.peer_id for each in roster.admins() if not each.leaves and each.peer_id != member.peer_id]
        return roster.may_remove(member.peer_id, voters)


def _refused(code: str, what: str, why: str, fix: str) -> Failure:
    return Failure(Fault(code, what, why, (fix,), exits.REFUSED))
