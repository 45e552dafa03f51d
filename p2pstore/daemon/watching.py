"""What those who watch are told: Prometheus figures, and whether the daemon lives, is ready, may stop.

```
/metrics           text exposition format 0.0.4
/health/live       200: the daemon answers
/health/ready      200: it can store and be read from; else 503 and why
/health/may-stop   200: everything could be read without this machine, and nothing waits for it; else 503 and why
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio

from p2pstore.daemon.http_door import Answer
from p2pstore.node import Node
from p2pstore.placement.verdict import ORDER, State
from p2pstore.storage.space import StoreState

KEPT_S: Final = 30.0
"""An answer about all stripes is kept so long: a probe a second must not cost a look at everything each time."""

_METRICS_KIND: Final = "text/plain; version=0.0.4; charset=utf-8"

Line = tuple[str, dict[str, str], float]


class Watching:
    """Makes the pages."""

    def __init__(self, node: Node, *, version: str) -> None:
        self._node = node
        self._version = version
        self._may_stop: tuple[float, str] | None = None
        self._looking = trio.Lock()

    def pages(self) -> dict[str, Callable[[], Awaitable[Answer]]]:
        """By path."""
        return {
            "/metrics": self.metrics,
            "/health/live": self.live,
            "/health/ready": self.ready,
            "/health/may-stop": self.may_stop,
        }

    async def live(self) -> Answer:
        """The loop turns."""
        return Answer(200, "lives\n")

    async def ready(self) -> Answer:
        """Whether others and people can use it."""
        node = self._node
        state = node.store.usage().state
        if node.membership.myself is None:
            return Answer(503, "this machine is not in the household any more\n")
        if state in (StoreState.ASLEEP, StoreState.MENDING):
            return Answer(503, f"its store is {state.value}\n")
        if node.membership.others() and not node.liveness.answering():
            return Answer(503, "no other machine answers\n")
        return Answer(200, "ready\n")

    async def may_stop(self) -> Answer:
        """Whether this machine can be switched off now."""
        node = self._node
        if running := len(node.transfers.running()):
            return Answer(503, f"transfers under way here: {running}\n")
        if owed := node.placer.owed_count:
            return Answer(503, f"pieces not yet as safe as promised, which this machine goes on placing: {owed}\n")
        async with self._looking:
            now_s = node.seams.clock.now_s()
            if self._may_stop is None or now_s - self._may_stop[0] > KEPT_S:
                self._may_stop = (now_s, await self._missing_without_us())
        why = self._may_stop[1]
        return Answer(503, f"{why}\n") if why else Answer(200, "may stop\n")

    async def _missing_without_us(self) -> str:
        """What could not be read while this machine is off; "" for nothing. Only machines that answer are counted: one
        that sleeps keeps its shards, but nobody can read them."""
        node = self._node
        away = [peer for peer in node.membership.others() if not node.liveness.answers(peer)]
        before = (await node.outlooks.without(away))[1]
        after = (await node.outlooks.without([node.membership.me, *away]))[1]
        lost = after.counts[State.LOST] - before.counts[State.LOST]
        if not node.liveness.answering() and after.total:
            return "no other machine answers: nothing could be read"
        return f"{lost:,} of {after.total:,} pieces could not be read while this machine is off" if lost > 0 else ""

    # --- figures --------------------------------------------------------------------------------------------------

    async def metrics(self) -> Answer:
        """All figures."""
        return Answer(200, exposition(await self._figures()), _METRICS_KIND)

    async def _figures(self) -> list[tuple[str, str, list[Line]]]:
        """(kind, help, lines) of each metric; every line of one has its name."""
        node = self._node
        usage, work, scrub = node.store.usage(), node.repairer.work, node.scrubber.round
        verdict = await node.verdicts.verdict()
        known, now_s = node.liveness.known(), node.seams.clock.now_s()
        members = [each for each in node.membership.roster.members() if each.peer_id != node.membership.me]

        def one(kind: str, name: str, about: str, value: float) -> tuple[str, str, list[Line]]:
            return kind, about, [(name, {}, value)]

        heard = [each for each in members if each.peer_id in known]
        states = [*ORDER, State.UNKNOWN]
        return [
            ("gauge", "the program", [("p2pstore_build_info", {"version": self._version}, 1.0)]),
            ("gauge", "1 for the verdict that holds", [
                ("p2pstore_verdict", {"state": state.value}, float(verdict.state is state)) for state in states
            ]),
            ("gauge", "pieces by how safe they are", [
                ("p2pstore_pieces", {"state": word}, float(count)) for word, count in sorted(verdict.counts.items())
            ]),
            one("gauge", "p2pstore_store_given_bytes", "the size given to shards", usage.given_bytes),
            one("gauge", "p2pstore_store_used_bytes", "what shards take of it", usage.used_bytes),
            one("gauge", "p2pstore_store_free_bytes", "free on the disk", usage.free_bytes),
            one("gauge", "p2pstore_store_shards", "shards held", usage.shard_count),
            one("gauge", "p2pstore_store_damaged_shards", "shards in quarantine", usage.damaged_count),
            one("gauge", "p2pstore_owed_pieces", "pieces this machine goes on placing", node.placer.owed_count),
            one("gauge", "p2pstore_repair_due_pieces", "pieces known to be due here", node.repairer.due_count),
            one("counter", "p2pstore_repaired_shards_total", "shards rebuilt since the start", work.shards),
            one("counter", "p2pstore_repaired_bytes_total", "their bytes", work.bytes),
            one("counter", "p2pstore_repair_failures_total", "repairs that did not end well", work.failed),
            one("gauge", "p2pstore_scrub_ended_timestamp_seconds", "end of the last full scrub", scrub.ended_s),
            one("gauge", "p2pstore_scrub_damaged_shards", "shards found damaged in this or the last", scrub.damaged),
            one("gauge", "p2pstore_transfers", "transfers under way", len(node.transfers.running())),
            ("gauge", "1 if the machine answers", [
                ("p2pstore_peer_answers", {"name": each.name}, float(node.liveness.answers(each.peer_id)))
                for each in members
            ]),
            ("gauge", "seconds since the machine was heard", [
                ("p2pstore_peer_heard_seconds", {"name": each.name}, now_s - known[each.peer_id].heard_at_s)
                for each in heard
            ]),
        ]  # fmt: skip


def exposition(figures: Iterable[tuple[str, str, list[Line]]]) -> str:
    """Prometheus's text format; metrics without lines are left out."""
    text = []
    for kind, about, lines in figures:
        if not lines:
            continue
        name = lines[0][0]
        text += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        for _, labels, value in lines:
            inside = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels.items())
            text.append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")
    return "\n".join(text) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
