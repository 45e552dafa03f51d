"""Subscriptions: a snapshot, then what changes, each with a number.

A subscriber that falls behind loses its subscription (code "resync") and asks for a new snapshot; publishing never
waits, so a stopped TUI cannot slow a repair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call
from p2pstore.errors import Misuse
from p2pstore.limits import CONTROL_API_FEED_DELTAS_MAX, CONTROL_API_FEED_PATIENCE_S

_RESYNC = Failure(Fault("resync", "this subscription fell behind", "ask for a new snapshot", (), exits.BUSY))


class Topics:
    """What can be subscribed to. Register `topics.subscribe` as the operation "subscribe".

    Args:
        snapshots: for each topic a function that returns its state now; it must not wait.
    """

    def __init__(self, snapshots: Mapping[str, Callable[[], Any]]) -> None:
        self._snapshots = dict(snapshots)
        self._sequence = dict.fromkeys(self._snapshots, 0)
        self._feeds: dict[str, list[trio.MemorySendChannel[dict[str, Any]]]] = {name: [] for name in self._snapshots}

    def publish(self, topic: str, delta: Any) -> None:
        """Tell every subscriber of `topic` what changed. Never waits."""
        self._sequence[topic] += 1
        item = {"topic": topic, "seq": self._sequence[topic], "delta": delta}
        kept = []
        for feed in self._feeds[topic]:
            try:
                feed.send_nowait(item)
                kept.append(feed)
            except (trio.WouldBlock, trio.BrokenResourceError):
                feed.close()
        self._feeds[topic] = kept

    async def subscribe(self, call: Call) -> None:
        """Stream {topic, seq, snapshot}, then {topic, seq, delta}; args {topics: [names]}. Ends only by failing.

        Raises:
            Misuse: a topic that there is not.
            Failure: code "resync", the subscriber fell behind.
        """
        wanted = call.args.get("topics")
        if not isinstance(wanted, list) or not wanted or any(topic not in self._snapshots for topic in wanted):
            raise Misuse(f"topics: some of {', '.join(sorted(self._snapshots))}")
        put, get = trio.open_memory_channel[dict[str, Any]](CONTROL_API_FEED_DELTAS_MAX)
        topics = sorted(set(wanted))
        feeds = [put, *(put.clone() for _ in topics[1:])]
        try:
            # No await between the snapshots and the registration: nothing is published in between.
            first = [{"topic": t, "seq": self._sequence[t], "snapshot": self._snapshots[t]()} for t in topics]
            for topic, feed in zip(topics, feeds, strict=True):
                self._feeds[topic].append(feed)
            for item in first:
                await call.emit(item, patience_s=CONTROL_API_FEED_PATIENCE_S)
            async for item in get:
                await call.emit(item, patience_s=CONTROL_API_FEED_PATIENCE_S)
                if self._lost(topics, feeds):
                    break
        except Failure:
            raise _RESYNC from None
        finally:
            get.close()
            for topic, feed in zip(topics, feeds, strict=True):
                self._feeds[topic] = [other for other in self._feeds[topic] if other is not feed]
                feed.close()
        raise _RESYNC

    def _lost(self, topics: list[str], feeds: list[trio.MemorySendChannel[dict[str, Any]]]) -> bool:
        """Whether a delta of any topic found no room: then the rest would have a gap."""
        return any(
            all(other is not feed for other in self._feeds[topic]) for topic, feed in zip(topics, feeds, strict=True)
        )
