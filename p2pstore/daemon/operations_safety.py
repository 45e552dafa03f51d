"""What keeps data safe, asked and told: repair, scrub, test-restore, the verdict with its what-ifs, who can leave.

```
repair {now, max_rate}         what is due, why, and how much that is; with `now` until nothing is left to do
```
"""

from __future__ import annotations

from typing import Any, Final

from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.node import Node
from p2pstore.placement.repair import Standing

REPORT_EVERY_S: Final = 0.25
"""Four reports a second are what a progress line takes."""

RATE_MAX: Final = 1 << 40


class SafetyOperations:
    """The operations of one daemon that are about safety."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"repair": self.repair}

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
        survey = await repairer.survey()
        work = repairer.work
        return {
            "looked_at": survey.looked_at,
            "due": survey.due,
            "stuck": survey.stuck,
            "shards": survey.shards,
            "bytes": survey.bytes,
            "minutes": survey.bytes / repairer.rate / 60,
            "margins": [
                {"survives": survives, "stripes": survey.margins[survives]} for survives in sorted(survey.margins)
            ],
            "causes": {cause.value: survey.causes[cause] for cause in sorted(survey.causes, key=lambda one: one.value)},
            "machines": self._machines(survey.standing, survey.without),
            "rate": repairer.rate,
            "ran": now,
            "repaired": {
                "stripes": work.stripes,
                "shards": work.shards,
                "bytes": work.bytes,
                "failed": work.failed,
                "last_failure": work.last_failure,
            },
        }

    def _machines(self, standing: Any, without: Any) -> list[dict[str, Any]]:
        """Machines whose shards do not count, or are missed by a stripe that is due."""
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
