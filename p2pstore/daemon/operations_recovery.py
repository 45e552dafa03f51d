"""What a local client can do about the paper key: replace it.

```
recovery-kit {}                      whose paper counts: its public keys
recovery-kit.rotate {secret?, new}   replaces it, signed by this admin, and by the old paper if its secret is given
recovery-kit.agree {root}            agrees to the new paper that another admin made
```
"""

from __future__ import annotations

from typing import Any

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Malformed
from p2pstore.keys.household import SECRET_BYTES, HouseholdKeys
from p2pstore.keys.identity import Signer
from p2pstore.metadata.roster_changes import demand_admin, renew
from p2pstore.metadata.roster_codec import make_new_root
from p2pstore.node import Node


class RecoveryOperations:
    """The operations on the paper key of one daemon."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "recovery-kit": self.paper,
            "recovery-kit.rotate": self.rotate,
            "recovery-kit.agree": self.agree,
        }

    async def paper(self, _call: Call) -> dict[str, Any]:
        """The public keys of the paper that counts, and how far another one is."""
        roster = self._node.membership.roster
        return {
            "household": roster.name,
            "network_id": roster.network_id.hex(),
            "root": roster.root_public,
            "recovery": roster.recovery_public,
            "recovery_curve": roster.recovery_curve_public,
            "renewed": roster.renewed,
        }

    async def rotate(self, call: Call) -> dict[str, Any]:
        """Make another paper the one that counts."""
        membership = self._node.membership
        demand_admin(membership.identity, membership.roster)
        fresh, old = _keys(call, "new"), None if call.args.get("secret") is None else _keys(call, "secret")
        roster = membership.roster
        if old is not None and old.public != roster.root_public:
            what = f"these words are not those of {roster.name}"
            raise Failure(Fault("other-household", what, "", ("p2pstore recovery-kit check",), exits.NOT_ALLOWED))
        new = make_new_root(fresh, roster.network_id, replaced=roster.root_public)
        now_s = self._node.seams.clock.wall_s()
        signers: list[Signer] = [membership.identity] if old is None else [membership.identity, old]
        await membership.change(
            membership.identity, [renew(signer, roster, new, now_s=now_s) for signer in signers]
        )
        return self._standing(fresh.public)

    async def agree(self, call: Call) -> dict[str, Any]:
        """Agree to another paper, made on another admin machine."""
        membership = self._node.membership
        demand_admin(membership.identity, membership.roster)
        roster = membership.roster
        start = arguments.text(call.args, "root", "").lower()
        found = [each for each in roster.pending_renewals() if each.new.root_public.hex().startswith(start)]
        if len(found) != 1:
            what = "no new paper waits" if not found else "several new papers wait; say which"
            fix = tuple(f"p2pstore recovery-kit agree {each.new.root_public.hex()[:8]}" for each in found)
            raise Failure(Fault("not-found", what, "", fix, exits.NOT_FOUND))
        now_s = self._node.seams.clock.wall_s()
        await membership.change(membership.identity, [renew(membership.identity, roster, found[0].new, now_s=now_s)])
        return self._standing(found[0].new.root_public)

    def _standing(self, root: bytes) -> dict[str, Any]:
        """Whether the paper with this root counts now, and whose word it takes else."""
        membership = self._node.membership
        roster = membership.roster
        voters = {peer for each in roster.pending_renewals() if each.new.root_public == root for peer in each.voters}
        counts = roster.root_public == root
        lacking = [] if counts else [each.name for each in roster.admins() if each.peer_id not in voters]
        away = [membership.name_of(each) for each in membership.others() if not self._node.liveness.answers(each)]
        standing = {"household": roster.name, "root": root.hex(), "counts": counts}
        return {**standing, "lacking": lacking, "away": sorted(away)}


def _keys(call: Call, name: str) -> HouseholdKeys:
    secret = call.args.get(name)
    if type(secret) is not bytes or len(secret) != SECRET_BYTES:
        raise Malformed(f"{name}: wanted 32 bytes")
    return HouseholdKeys.derive(secret)
