"""What a local client can do about the household's machines: name, place, role, size, and who is a member no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call, Op
from p2pstore.daemon.home import Home
from p2pstore.daemon.operations_departure import DepartureOperations
from p2pstore.errors import Malformed, PeerFault, Unavailable
from p2pstore.ids import PeerId
from p2pstore.keys.household import SECRET_BYTES, HouseholdKeys
from p2pstore.limits import MIB
from p2pstore.metadata.member import Member
from p2pstore.metadata.roster_changes import change_role, demand_admin, remove, update
from p2pstore.metadata.roster_codec import CUT_BYTES_MAX, checked_name
from p2pstore.metadata.roster_statements import ROLES, Fact
from p2pstore.node import Node
from p2pstore.protocols import sync
from p2pstore.protocols.sync import Statements
from p2pstore.seams.network import Message

TELL_TIMEOUT_S: Final = 3.0
"""A removed machine is told so before its links are cut, if it listens; a thief's machine is not waited for longer."""

CAPACITY_BYTES_MAX: Final = 2**60

CAPACITY_BYTES_MIN: Final = 64 * MIB
"""Less is of no use: a pack alone may take 256 MiB."""

COULD_READ: Final = "everything that was stored until now; nothing that is stored from now on"

TREE_OPS: Final = frozenset(
    {
        "get", "cat", "ls", "tree", "where", "page", "health", "search", "conflicts", "log", "history", "diff", "trash",
        "snapshot", "retention", "peers.frozen", "peers.adopt", "promise", "promise.plan", "stat", "read",
    }
)  # fmt: skip
"""Operations that show names or contents."""

CHANGING_OPS: Final = frozenset(
    {"put", "watch.add", "mkdir", "mv", "rm", "tag", "resolve", "restore", "copy", "rename"}
)
"""Operations that write to the tree."""


class MemberOperations:
    """The operations on machines of one daemon."""

    def __init__(self, node: Node, *, home: Home) -> None:
        self._node = node
        self._home = home

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "peers.rename": self.rename,
            "peers.site": self.site,
            "peers.role": self.role,
            "peers.limit": self.limit,
            "peers.revoke": self.remove,
            "peers.forget": self.remove,
            **DepartureOperations(self._node, member=self._called, remove=self._remove).handlers(),
        }

    def guarding(self, handlers: Mapping[str, Op]) -> dict[str, Op]:
        """The same operations; those on names and contents are refused, with the reason, where they cannot be done."""
        return {name: self._guarded(name, op) for name, op in handlers.items()}

    def _guarded(self, name: str, op: Op) -> Op:
        if name not in TREE_OPS | CHANGING_OPS:
            return op

        async def guarded(call: Call) -> Any:
            self._demand_able(name)
            return await op(call)

        return guarded

    def _demand_able(self, name: str) -> None:
        me = self._node.membership.myself
        if me is None and name in CHANGING_OPS:
            why = "an admin removed it; what it knew is still readable here"
            raise _removed(why)
        if me is not None and me.leaves and name in CHANGING_OPS:
            what = "this machine is leaving the household; it takes nothing new"
            why = "what is written here now might be on no other machine when it is erased"
            fix = ("run this on another machine", f"p2pstore peers retire {me.name} --cancel")
            raise Failure(Fault("leaving", what, why, fix, exits.REFUSED))
        if me is not None and me.role == "storage":
            what = "this machine stores for the household without being able to read"
            why = f"{me.name} has the role storage: no key for names or contents, until an admin's machine changes it"
            fix = ("run this on another machine", f"p2pstore peers role {me.name} member")
            raise Failure(Fault("blind", what, why, fix, exits.NOT_ALLOWED))

    # --- facts ----------------------------------------------------------------------------------------------------

    async def rename(self, call: Call) -> dict[str, Any]:
        """Give a machine another name."""
        member = self._member(call)
        name = _checked(_text(call, "new"))
        other = self._node.membership.roster.by_name(name)
        if other is not None and other.peer_id != member.peer_id:
            what = f"there is a machine called {other.name}"
            raise Failure(Fault("exists", what, "", ("p2pstore peers",), exits.REFUSED))
        if name != member.name:
            await self._update(member, Fact.NAME, name)
        return {"name": name, "was": member.name, "peer_id": member.peer_id.hex()}

    async def site(self, call: Call) -> dict[str, Any]:
        """Say where a machine stands."""
        member = self._member(call)
        site = _checked(_text(call, "site"))
        if site != member.site:
            await self._update(member, Fact.SITE, site)
        return {"name": member.name, "site": site, "peer_id": member.peer_id.hex()}

    async def role(self, call: Call) -> dict[str, Any]:
        """Make a member an admin, a storage peer a member, and so on."""
        member, role = self._member(call), _text(call, "role")
        if role not in ROLES:
            raise Malformed(f"role: one of {', '.join(ROLES)}")
        membership = self._node.membership
        demand_admin(membership.identity, membership.roster)
        if member.role == "admin" and role != "admin":
            why = "what an admin may do cannot be taken back by a new role, only by removing the machine"
            fix = (f"p2pstore peers forget {member.name}", "then invite it again")
            raise Failure(Fault("admin-stays", f"{member.name} is an admin and stays one", why, fix, exits.REFUSED))
        before = self._generation()
        if role != member.role:
            statements = change_role(membership.identity, membership.roster, member.peer_id, role)
            await membership.change(membership.identity, statements)
        changed = self._generation() != before
        return {"name": member.name, "role": role, "peer_id": member.peer_id.hex(), "new_keys": changed}

    async def limit(self, call: Call) -> dict[str, Any]:
        """How much of this machine's disk is given: at once, and after a restart."""
        node = self._node
        me = node.membership.myself
        if me is None:
            raise _removed("")
        name, size = call.args.get("name"), call.args.get("size")
        if name is not None and name.casefold() != me.name.casefold():
            member = self._member(call)
            why = "each machine says itself how much of its disk it gives"
            fix = (f"on {member.name}: p2pstore peers limit SIZE",)
            what = f"the size of {member.name} is set on {member.name}"
            raise Failure(Fault("not-here", what, why, fix, exits.REFUSED))
        if type(size) is not int or not CAPACITY_BYTES_MIN <= size <= CAPACITY_BYTES_MAX:
            raise Malformed(f"size: from {CAPACITY_BYTES_MIN} bytes on")
        settings = replace(self._home.read_settings(), size_bytes=size)
        await node.seams.io.run(self._home.write_settings, settings)
        node.store.give(size)
        if me.capacity_bytes != size:
            await self._update(me, Fact.CAPACITY, size)
        used = node.store.usage().used_bytes
        return {"name": me.name, "capacity": size, "used": used, "peer_id": me.peer_id.hex()}

    async def _update(self, member: Member, about: Fact, value: str | int) -> None:
        membership = self._node.membership
        statement = update(membership.identity, membership.roster, member.peer_id, about, value)
        await membership.change(membership.identity, [statement])

    # --- removal --------------------------------------------------------------------------------------------------

    async def remove(self, call: Call) -> dict[str, Any]:
        """Remove a machine: it is cut off, and what is stored from now on is sealed with keys that it never gets."""
        return await self._remove(call, self._member(call))

    async def _remove(self, call: Call, member: Member) -> dict[str, Any]:
        membership = self._node.membership
        if member.peer_id == membership.me:
            what = "this machine cannot remove itself"
            fix = (f"on another admin machine: p2pstore peers forget {member.name}",)
            raise Failure(Fault("myself", what, "somebody who stays has to make the new keys", fix, exits.REFUSED))
        paper = self._paper(call)
        signer = paper or membership.identity
        demand_admin(signer, membership.roster)
        enrolled = sorted(map(membership.name_of, membership.roster.enrolled_by(member.peer_id)))
        before = self._generation()
        statement = remove(
            signer, membership.roster, member.peer_id, now_s=self._node.seams.clock.wall_s(), cut=self._cut()
        )
        removed = membership.roster.with_statements([statement]).member(member.peer_id) is None
        told = [member.name] if removed and await self._tell(member.peer_id, statement) else []
        await membership.change(signer, [statement])
        pending = {each.peer_id: each.voters for each in membership.roster.pending_removals()}
        generation = self._generation()
        away = [membership.name_of(each) for each in membership.others() if not self._node.liveness.answers(each)]
        return {
            "name": member.name,
            "peer_id": member.peer_id.hex(),
            "removed": removed,
            "votes": sorted(map(membership.name_of, pending.get(member.peer_id, ()))),
            "by_paper_key": paper is not None,
            "generation": generation if removed and generation != before else None,
            "told": told,
            "away": sorted(away),
            "could_read": "nothing: it had no key" if member.role == "storage" else COULD_READ,
            "enrolled": enrolled,
            "next": _next_steps(member, removed=removed, enrolled=enrolled),
        }

    def _paper(self, call: Call) -> HouseholdKeys | None:
        """The keys of the words that came with the call, for the length of the call."""
        secret = call.args.get("secret")
        if secret is None:
            return None
        if type(secret) is not bytes or len(secret) != SECRET_BYTES:
            raise Malformed("secret: wanted 32 bytes")
        keys = HouseholdKeys.derive(secret)
        if not self._node.membership.roster.is_root(keys.public):
            what = f"these words are not those of {self._node.membership.roster.name}"
            raise Failure(Fault("other-household", what, "", ("p2pstore recovery-kit check",), exits.NOT_ALLOWED))
        return keys

    def _cut(self) -> bytes:
        """What was heard of everybody until now; operations of the removed machine beyond it are not believed."""
        cut = self._node.ledger.vector().encode()
        return cut if len(cut) <= CUT_BYTES_MAX else b""

    async def _tell(self, peer: PeerId, statement: bytes) -> bool:
        """Tell a machine that it is removed, while it can still be reached. Whether it heard."""
        message: Message = sync.statements_message(sync.ROSTER_PUSH, Statements((statement,), ()))
        try:
            await self._node.network.request(peer, message, timeout_s=TELL_TIMEOUT_S)
        except (Unavailable, PeerFault):
            return False
        return True

    def _generation(self) -> str | None:
        with_keys = self._node.membership.current_metadata_keys()
        return None if with_keys is None else with_keys.generation.hex()

    # --- who ------------------------------------------------------------------------------------------------------

    def _member(self, call: Call) -> Member:
        return self._called(_text(call, "name"))

    def _called(self, name: str) -> Member:
        """Raises Failure for a name that no member has."""
        roster = self._node.membership.roster
        member = roster.by_name(name)
        if member is None:
            gone = any(each.name.casefold() == name.casefold() for each in roster.removed())
            why = "it was removed before" if gone else ""
            what = f"there is no machine called {name!r}"
            raise Failure(Fault("not-found", what, why, ("p2pstore peers",), exits.NOT_FOUND))
        return member


def _removed(why: str) -> Failure:
    what = "this machine is not in the household any more"
    return Failure(Fault("removed", what, why, ("p2pstore status",), exits.NOT_ALLOWED))


def _next_steps(member: Member, *, removed: bool, enrolled: list[str]) -> list[str]:
    """What a person should think of now."""
    if not removed:
        return [
            f"another admin runs the same: p2pstore peers revoke {member.name}",
            f"or with the paper key: p2pstore peers revoke {member.name} --with-paper-key",
        ]
    steps = ["change passwords and keys that lay in stored files, if the machine is in wrong hands"]
    steps += [f"{name} was invited by it: look whether you know it" for name in enrolled]
    return [*steps, "p2pstore safe"]


def _checked(name: str) -> str:
    try:
        return checked_name(name)
    except Malformed as error:
        raise Failure(Fault("usage", f"{name!r} is no name", str(error), (), exits.USAGE)) from None


def _text(call: Call, name: str) -> str:
    value = call.args.get(name)
    if type(value) is not str or not value:
        raise Malformed(f"{name}: wanted text")
    return value
