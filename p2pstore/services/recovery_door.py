"""What the household's machines do for a machine that comes with the paper key: say who they are, and let it read.

It is admitted by the recovery CURVE key of the genesis, as a peer of its own that is no member, and nothing it can ask
for changes anything here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from p2pstore.errors import PeerFault, Refused, Unavailable
from p2pstore.ids import PeerId
from p2pstore.limits import RECOVERY_QUESTIONS_MAX, RECOVERY_TIMEOUT_S
from p2pstore.protocols import sync
from p2pstore.protocols.recovery_door import DOOR_FRAME_BYTES_MAX, Doorkeeper, answer
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message
from p2pstore.services import liveness, shards
from p2pstore.services.framed_streams import FramedStream

Listeners = Sequence[trio.abc.Listener[trio.abc.Stream]]
Serve = Callable[[Message], Awaitable[Message | None]]

READ_KINDS: Final = frozenset(
    {sync.ROSTER_PULL, sync.PULL, sync.INVENTORY_PULL, shards.GET, shards.FIND, liveness.KIND}
)
"""All that the paper key may ask for. Whatever is added to the wire is refused until it is named here."""


class ReadOnly:
    """Serves a machine that restores."""

    def __init__(self, *, shards: Serve, metadata: Serve, condition: Callable[[], list[int]]) -> None:
        """A server of what others know.

        Args:
            shards: serves requests for shards.
            metadata: serves pulls of the roster, of commits and of inventories.
            condition: what this machine says of its disk.
        """
        self._shards = shards
        self._metadata = metadata
        self._condition = condition

    async def handle(self, message: Message) -> Message:
        """Serve one request. Raises Refused with code "read-only" for whatever does not merely read."""
        if message.kind not in READ_KINDS:
            raise Refused("read-only", f"{message.kind}: the paper key reads, and nothing else")
        if message.kind == liveness.KIND:
            return Message("ok", {"me": self._condition()})  # what the asker says of itself is not taken down
        if message.kind in (shards.GET, shards.FIND):
            reply = await self._shards(message)
        else:
            reply = await self._metadata(message)
        assert reply is not None
        return reply


class RecoveryDoor:
    """Tells who holds the paper key which machine this is; closes without a word on everybody else."""

    def __init__(
        self,
        *,
        me: PeerId,
        curve_public: bytes,
        recovery_curve_public: Callable[[], bytes],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._keeper = Doorkeeper(me, curve_public)
        self._recovery_curve_public = recovery_curve_public
        self._clock = clock
        self._rng = rng
        self._waiting: dict[int, trio.CancelScope] = {}
        self._connections_made = 0

    async def run(self, listeners: Listeners) -> None:
        """Answer until cancelled."""
        await trio.serve_listeners(self._answer, list(listeners))

    async def _answer(self, stream: trio.abc.Stream) -> None:
        self._connections_made += 1
        connection = self._connections_made
        frames = FramedStream(stream, frame_bytes_max=DOOR_FRAME_BYTES_MAX)
        while len(self._waiting) >= RECOVERY_QUESTIONS_MAX:
            self._waiting.pop(min(self._waiting)).cancel()  # who says nothing makes room
        try:
            with self._clock.move_on_after(RECOVERY_TIMEOUT_S) as patience:
                self._waiting[connection] = patience
                question = await frames.receive()
                await frames.send(answer(question, self._recovery_curve_public(), self._keeper, self._rng))
        except (PeerFault, Unavailable):
            pass  # a stranger: its connection ends, and it has learned nothing
        finally:
            self._waiting.pop(connection, None)
            await frames.aclose()
