"""What keeps data safe, asked and told: the verdict with its what-ifs, repair, scrub, test-restore, who can leave.

```
safe {what_if, worst}          the verdict; what would be left without some machines; the pieces that bear least
repair {now, max_rate}         what is due, why, and how much that is; with `now` until nothing is left to do
scrub {action}                 status, pause, resume; now: every shard here is read and checked
test-restore {files}           random files read back whole from other machines' shards
peers.can-leave {names}        whether machines can leave for good, and why not
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Misuse
from p2pstore.ids import PeerId
from p2pstore.node import Node
from p2pstore.placement.repair import Standing
from p2pstore.placement.verdict import ORDER, State, Verdict
from p2pstore.placement.what_if import sentence_without
from p2pstore.services.outlooks import named
from p2pstore.services.promiser import Raising
from p2pstore.services.restore_drill import DrillResult
from p2pstore.services.scrubber import EVERY_S, Round

REPORT_EVERY_S: Final = 0.25
"""Four reports a second are what a progress line takes."""

RATE_MAX: Final = 1 << 40
WORST_MAX: Final = 1000
FILES_MAX: Final = 10_000


class SafetyOperations:
    """The operations of one daemon that are about safety."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "safe": self.safe,
            "repair": self.repair,
            "scrub": self.scrub,
            "test-restore": self.test_restore,
            "peers.can-leave": self.can_leave,
        }

    # --- the verdict --------------------------------------------------------------------------------------------------

    async def safe(self, call: Call) -> dict[str, Any]:
        """The verdict, with counts; what-if and the worst pieces where asked for."""
        node = self._node
        names = arguments.texts(call.args, "what_if")
        worst = arguments.integer(call.args, "worst", 0, most=WORST_MAX)
        verdict = await node.verdicts.verdict(fresh=True)
        drill, scrub = node.restore_drill.last, node.scrubber.round
        return {
            "state": verdict.state.value,
            "sentence": verdict.sentence,
            "counts": dict(verdict.counts),
            "folders": [self._folder(each, verdict) for each in await node.promiser.raisings()],
            "computed_s": node.seams.clock.now_s() - verdict.computed_at_s,
            "what_if": await self._what_if(names) if names else None,
            "worst": await self._worst(worst) if worst else [],
            "test_restore": None if drill is None else _drill(drill),
            "scrubbed": scrub.ended_s or None,
            "audits": {
                "at": node.auditor.audits.last_s or None,
                "proven": node.auditor.audits.proven,
                "failed": node.auditor.named,
            },
        }

    def _folder(self, raising: Raising, verdict: Verdict) -> dict[str, Any]:
        """How a folder with a promise of its own stands. Pieces that are still to be brought to it are not safe."""
        state = verdict.folder_state(raising.promise)
        waits = (raising.behind or 0) + raising.unknown
        if state is State.SAFE and (raising.behind is None or waits):
            state = State.THIN
        if verdict.state is State.UNKNOWN:
            state = State.UNKNOWN
        sentence = f"promises to survive the loss of {raising.promise.failures}"
        if raising.behind is None:
            sentence += "; what was there before is being looked at"
        elif waits:
            sentence += f"; {waits:,} pieces are still to be brought to it"
        return {
            "path": arguments.shown(raising.path),
            "promise": raising.promise.value,
            "state": state.value,
            "sentence": sentence,
        }

    async def _what_if(self, words: list[str]) -> dict[str, Any]:
        lost = self._machines_named(words)
        now, then = await self._node.outlooks.without(lost)
        names = [self._node.membership.name_of(peer) for peer in lost]
        return {
            "without": names,
            "state": then.state.value,
            "sentence": sentence_without(names, now, then),
            "counts": {state.value: then.counts[state] for state in ORDER},
        }

    async def _worst(self, count: int) -> list[dict[str, Any]]:
        found = []
        for one in await self._node.outlooks.worst(count):
            stripe = one.stripe
            found.append(
                {
                    "path": None if one.path is None else arguments.shown(one.path),
                    "encoding": stripe.encoding.hex(),
                    "state": stripe.state.value,
                    "survives": stripe.health.survives,
                    "needed": stripe.needed,
                    "shards": len({index for indices in stripe.held.values() for index in indices}),
                    "machines": sorted(self._node.membership.name_of(peer) for peer in stripe.held),
                }
            )
        return found

    def _machines_named(self, words: list[str]) -> list[PeerId]:
        """Raises Failure for a word that means no machine."""
        members = [(each.name, each.site, each.peer_id) for each in self._node.membership.roster.members()]
        found: set[PeerId] = set()
        for word in words:
            peers = named(members, word)
            if not peers:
                what = f"there is no machine or site called {word!r}"
                raise Failure(Fault("not-found", what, "", ("p2pstore peers",), exits.NOT_FOUND))
            found.update(peers)
        return sorted(found)

    async def can_leave(self, call: Call) -> dict[str, Any]:
        """Whether machines can leave for good."""
        node = self._node
        words = arguments.texts(call.args, "names")
        if not words:
            raise Misuse("name at least one machine")
        leaving = self._machines_named(words)
        answer = await node.outlooks.leaving(leaving, node.own_condition())
        return {
            "names": [node.membership.name_of(peer) for peer in leaving],
            "possible": answer.possible,
            "reasons": list(answer.reasons),
        }

    # --- repair -------------------------------------------------------------------------------------------------------

    async def repair(self, call: Call) -> dict[str, Any]:
        """What is due; with `now`, this machine repairs all of it out of turn and answers when it has nothing to do."""
        repairer = self._node.repairer
        if rate := arguments.integer(call.args, "max_rate", 0, most=RATE_MAX):
            await repairer.set_rate(rate)
        now = arguments.flag(call.args, "now")
        before = repairer.work.bytes
        if now:
            repairer.hurry(impatient=True)
            while repairer.busy:
                call.report({"due": repairer.due_count, "bytes": repairer.work.bytes - before})
                await self._node.seams.clock.sleep(REPORT_EVERY_S)
        survey = await self._node.surveyor.survey()
        work = repairer.work
        return {
            "looked_at": survey.looked_at,
            "due": survey.due,
            "stuck": survey.stuck,
            "shards": survey.shards,
            "bytes": survey.bytes,
            "minutes": survey.bytes / repairer.work.rate / 60,
            "margins": [
                {"survives": survives, "stripes": survey.margins[survives]} for survives in sorted(survey.margins)
            ],
            "causes": {cause.value: survey.causes[cause] for cause in sorted(survey.causes, key=lambda one: one.value)},
            "machines": self._machines(survey.standing, survey.without),
            "rate": repairer.work.rate,
            "ran": now,
            "repaired": {
                "stripes": work.stripes,
                "shards": work.shards,
                "bytes": work.bytes,
                "failed": work.failed,
                "last_failure": work.last_failure,
            },
        }

    def _machines(self, standing: Mapping[PeerId, Standing], without: Mapping[PeerId, int]) -> list[dict[str, Any]]:
        """Machines that do not answer, or are missed by a stripe that is due."""
        name_of = self._node.membership.name_of
        found = [
            {
                "name": name_of(peer),
                "standing": standing[peer].value if peer in standing else "removed",
                "stripes": without.get(peer, 0),
            }
            for peer in sorted({*standing, *without})
            if peer in without or standing[peer] is not Standing.ANSWERS
        ]
        return sorted(found, key=lambda one: str(one["name"]))

    # --- checks -------------------------------------------------------------------------------------------------------

    async def scrub(self, call: Call) -> dict[str, Any]:
        """The state of this machine's scrub, after what was asked for."""
        scrubber = self._node.scrubber
        action = arguments.text(call.args, "action", among=("status", "now", "pause", "resume"))
        if action in ("pause", "resume"):
            await scrubber.pause(action == "pause")
        if action == "now":
            total = self._node.store.usage().shard_count
            await scrubber.now(lambda so_far: call.report({"checked": so_far.checked, "shards": total}))
        return {**self._scrub(scrubber.round), "ran": action == "now"}

    def _scrub(self, kept: Round) -> dict[str, Any]:
        usage = self._node.store.usage()
        scrubber = self._node.scrubber
        state = "paused" if kept.paused else "running" if kept.after is not None or scrubber.hurried else "resting"
        return {
            "state": state,
            "began": kept.began_s or None,
            "ended": kept.ended_s or None,
            "next": kept.began_s + EVERY_S if state == "resting" else None,
            "checked": kept.checked,
            "bytes": kept.checked_bytes,
            "shards": usage.shard_count,
            "damaged": kept.damaged,
            "quarantined": usage.damaged_count,
            "problem": scrubber.problem,
        }

    async def test_restore(self, call: Call) -> dict[str, Any]:
        """Read random files back whole, from other machines wherever they suffice."""
        count = arguments.integer(call.args, "files", 20, most=FILES_MAX)
        result = await self._node.restore_drill.drill(count, lambda path: call.report({"current": path}))
        return _drill(result)


def _drill(result: DrillResult) -> dict[str, Any]:
    return {
        "at": result.at_s,
        "files": result.files,
        "bytes": result.size,
        "failed_count": result.failed_count,
        "failed": [{"path": path, "why": why} for path, why in result.failed],
    }
