"""What a local client can ask about this machine and its household."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import trio

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.daemon.doctor import copies
from p2pstore.daemon.home import Settings
from p2pstore.metadata.member import Member
from p2pstore.metadata.roster_statements import Duty
from p2pstore.node import Node
from p2pstore.pipeline.erasure.kernels import kernel_name
from p2pstore.services.enrolment import EnrolmentListener, Invitation


class HouseholdOperations:
    """Status, machines, invitations, and the daemon's end."""

    def __init__(
        self,
        node: Node,
        *,
        settings: Settings,
        address: str,
        enrolment: EnrolmentListener,
        version: str,
        shut_down: Callable[[], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._address = address
        self._enrolment = enrolment
        self._verdicts = node.verdicts
        self._version = version
        self._shut_down = shut_down
        self._started_s = node.seams.clock.now_s()
        self._started_wall_s = node.seams.clock.wall_s()
        self._invitations: dict[str, Invitation] = {}

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "status": self.status,
            "peers": self.peers,
            "invite": self.invite,
            "invite.wait": self.invite_wait,
            "shutdown": self.shutdown,
            "version": self.version,
        }

    # --- how things stand -----------------------------------------------------------------------------------------

    async def status(self, _call: Call) -> dict[str, Any]:
        """This machine, its household and the verdict."""
        return await self.describe()

    async def describe(self) -> dict[str, Any]:
        """The same, for whoever asks from inside."""
        node = self._node
        me = node.membership.myself
        usage = node.store.usage()
        verdict = await self._verdicts.verdict()
        health = await node.ledger.health()
        return {
            "pid": os.getpid(),
            "address": self._address,
            "peer_id": node.membership.me.hex(),
            "name": me.name if me else self._settings.name,
            "household": node.membership.roster.name,
            "network_id": node.membership.network_id.hex(),
            "role": me.role if me else "removed",
            "restoring": node.membership.recovery_peer in node.network.linked_peers(),
            "site": me.site if me else self._settings.site,
            "version": self._version,
            "since": self._started_wall_s,
            "uptime_s": node.seams.clock.now_s() - self._started_s,
            "store": {
                "given": usage.given_bytes,
                "used": usage.used_bytes,
                "free": usage.free_bytes,
                "shards": usage.shard_count,
                "damaged": usage.damaged_count,
                "state": usage.state.value,
            },
            "ledger": {
                "missing": health.missing,
                "lost": health.lost,
                "restored": health.restored,
                "rows": health.rows,
                "differences": health.differences,
            },
            "owed": node.placer.owed_count,
            "peers": self._peer_list(),
            "verdict": {"state": verdict.state.value, "sentence": verdict.sentence},
            "transfers": [transfer.progress() for transfer in node.transfers.running()],
            "kernel": kernel_name(),
            "copies": await copies(node),
        }

    async def peers(self, _call: Call) -> dict[str, Any]:
        """The household's machines."""
        return {"peers": self._peer_list()}

    def _peer_list(self) -> list[dict[str, Any]]:
        node = self._node
        now_s = node.seams.clock.now_s()
        known = node.liveness.known()
        found = []
        for member in node.membership.roster.members():
            is_me = member.peer_id == node.membership.me
            acquaintance = known.get(member.peer_id)
            condition = node.own_condition() if is_me else acquaintance.condition if acquaintance else None
            state = "self" if is_me else "linked" if node.liveness.answers(member.peer_id) else "away"
            found.append(
                {
                    "name": member.name,
                    "peer_id": member.peer_id.hex(),
                    "role": member.role,
                    "site": member.site,
                    "steadiness": member.steadiness,
                    "state": state,
                    "address": self._address if is_me else next(iter(member.endpoints.control), None),
                    "last_heard_s": 0.0 if is_me else now_s - acquaintance.heard_at_s if acquaintance else None,
                    "rtt_ms": None if is_me or acquaintance is None else acquaintance.rtt_s * 1000,
                    "capacity": condition.given_bytes if condition else member.capacity_bytes,
                    "used": condition.used_bytes if condition else None,
                    "leaving": self._leaving(member) if member.leaves else None,
                }
            )
        return sorted(found, key=lambda one: (one["state"] != "self", str(one["name"])))

    def _leaving(self, member: Member) -> dict[str, Any]:
        """How far a machine is that leaves."""
        node = self._node
        progress = node.departure.progress(member.peer_id)
        return {
            "pieces": None if progress is None else progress.total,
            "left": None if progress is None else progress.left,
            "left_bytes": None if progress is None else progress.left_bytes,
            "waits": "waits to be heard" if progress is None else progress.waits,
            "done": progress is not None and progress.done,
            "anyway": member.duty is Duty.LEAVES_ANYWAY,
            "successor": None if member.successor is None else node.membership.name_of(member.successor),
        }

    async def version(self, _call: Call) -> dict[str, Any]:
        """The program's version."""
        return {"version": self._version}

    async def shutdown(self, _call: Call) -> dict[str, Any]:
        """End the daemon, cleanly."""
        self._shut_down()
        return {}

    # --- machines -------------------------------------------------------------------------------------------------

    async def invite(self, call: Call) -> dict[str, Any]:
        """Open an invitation."""
        invitation = await self._enrolment.invite(
            role=arguments.text(call.args, "role", "member"),
            ttl_s=arguments.number(call.args, "ttl_s", 600.0, most=3600.0),
        )
        code = str(invitation.code)
        self._invitations[code] = invitation
        expires_s = invitation.ends_at_s - self._node.seams.clock.now_s()
        return {"code": code, "expires_s": expires_s, "address": self._address, "role": invitation.role}

    async def invite_wait(self, call: Call) -> dict[str, Any]:
        """Wait for whoever was invited; a client that gives up withdraws the invitation."""
        invitation = self._invitations.get(arguments.text(call.args, "code"))
        if invitation is None:
            raise Failure(Fault("not-found", "there is no such invitation", "", ("p2pstore invite",), exits.NOT_FOUND))
        try:
            ended = await self._enrolment.wait(invitation)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._enrolment.cancel(invitation)
            raise
        if ended.peer_id is None:
            why = ended.why or f"the invitation is {ended.how}"
            raise Failure(Fault("not-joined", "nobody has joined", why, ("p2pstore invite",), exits.FAILED))
        return {"name": self._node.membership.name_of(ended.peer_id), "peer_id": ended.peer_id.hex()}
