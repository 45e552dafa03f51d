"""Shards between peers: asking for one, handing one over, and serving those who ask.

`ShardClient` treats this machine as one more holder, so that the services above never ask "is it me?".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from p2pstore.errors import Forged, Malformed, P2PStoreError, Refused
from p2pstore.ids import Dot, EncodingId, NetworkId, PeerId, ShardId, StoreId, encoding_id, incarnation, peer_id
from p2pstore.limits import CODE_LENGTH_MAX, LISTS_NAMING_MAX, SHARDS_PER_REQUEST_MAX
from p2pstore.metadata.vector import SEQUENCE_MAX
from p2pstore.packing import Buffer, Fields
from p2pstore.pipeline.shard import ShardHeader, parse_header
from p2pstore.placement.receipt import Receipt, read_receipt, sign_receipt
from p2pstore.protocols.wire import UNKNOWN_KIND, refusal
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network, Plane
from p2pstore.services.shard_outbox import Parcel, ShardOutbox
from p2pstore.storage.entries import StoredShard
from p2pstore.storage.store import ShardStore

PUT: Final = "shard.put"
GET: Final = "shard.get"
CONFIRM: Final = "shard.confirm"
FIND: Final = "shard.find"
KINDS: Final = frozenset({PUT, GET, CONFIRM, FIND})

REPLY_TIMEOUT_S: Final = 15.0
"""For the request itself, before its bytes: several fsyncs on a busy disk (p99 30 ms each, facts) and a slow line."""

SLOWEST_BYTES_PER_S: Final = 64 * 1024
"""Bytes get this long on top: half a megabit a second is the slowest line that is worth waiting for."""


HINTS_MAX: Final = 4096
"""Stripes that the DHT is told of: those touched last, about a megabyte."""


@dataclass(frozen=True, slots=True)
class FetchedShard:
    """A shard as its holder sent it; the payload is verified against the header, the header against nothing yet."""

    header: ShardHeader
    payload: Buffer


ListsNaming = Callable[[Sequence[EncodingId]], Awaitable[Mapping[EncodingId, Sequence[Dot]]]]
"""The condemned lists that name some stripes; those that none names are left out."""

TakenAgain = Callable[[EncodingId, Sequence[Dot]], Awaitable[None]]
"""Somebody needs a stripe in spite of these lists; durable on return."""


async def _no_lists(_encodings: Sequence[EncodingId]) -> Mapping[EncodingId, Sequence[Dot]]:
    return {}


async def _nothing_condemned(_encoding: EncodingId, _lists: Sequence[Dot]) -> None:
    return


def transfer_timeout_s(size: int) -> float:
    """How long a request with `size` bytes of payload, there or back, may take."""
    return REPLY_TIMEOUT_S + size / SLOWEST_BYTES_PER_S


class ShardServer:
    """Answers peers' requests about this machine's shards."""

    def __init__(
        self,
        *,
        me: PeerId,
        network_id: NetworkId,
        store: ShardStore,
        sign: Callable[[bytes], bytes],
        clock: Clock,
        leaves: Callable[[], bool] = lambda: False,
        taken_again: TakenAgain = _nothing_condemned,
    ) -> None:
        self._taken_again = taken_again
        self._me = me
        self._network_id = network_id
        self._store = store
        self._sign = sign
        self._clock = clock
        self._leaves = leaves
        self.last_put_s = clock.now_s()
        """When somebody last put here, or tried to; at the earliest when this daemon started."""
        self._lately: OrderedDict[EncodingId, set[int]] = OrderedDict()

    def hints(self, encoding: EncodingId) -> list[int]:
        """Shards of a stripe that came or were asked for lately: quick, for the DHT. Saying nothing proves nothing."""
        return sorted(self._lately.get(encoding, ()))

    def _note(self, shard: ShardId) -> None:
        self._lately.setdefault(shard.encoding, set()).add(shard.index)
        self._lately.move_to_end(shard.encoding)
        while len(self._lately) > HINTS_MAX:
            self._lately.popitem(last=False)

    async def handle(self, message: Message) -> Message:
        """Serve one request of a proven peer. Raises Malformed, Refused, NoSpace, Corrupt or DiskAsleep."""
        if message.kind == PUT:
            return await self._put(message)
        if message.kind == GET:
            shard = _shard_of(message)
            stored = await self._store.get(shard)
            self._note(shard)
            return Message("ok", {"header": bytes(stored.header)}, stored.payload)
        if message.kind == CONFIRM:
            return await self._confirm(message)
        if message.kind == FIND:
            return Message("ok", {"indices": await self._store.shards_of(_encoding_of(message))})
        raise Refused(UNKNOWN_KIND, message.kind)

    async def _put(self, message: Message) -> Message:
        """Store the shards of one request; each is taken or refused by itself, one receipt covers those taken."""
        headers = _headers_of(message)
        self.last_put_s = self._clock.now_s()
        if self._leaves():
            return Message("ok", {"refused": ["leaving"] * len(headers), "receipt": b""})
        if sum(header.shard_length for header, _ in headers) != len(message.payload):
            raise Malformed("shard.put: payloads of another length than the headers say")
        repair = message.args.get("repair") is True
        despite = _despite_of(message)
        payload = memoryview(message.payload)
        refused: dict[int, str] = {}
        stores: set[StoreId] = set()

        async def store(number: int, start: int) -> None:
            header, raw = headers[number]
            piece = payload[start : start + header.shard_length]
            try:
                await self._taken_again(header.shard_id.encoding, despite.get(header.shard_id.encoding, ()))
                stores.add((await self._store_one(header, raw, piece, for_repair=repair)).store)
            except P2PStoreError as error:
                refused[number] = refusal(0, error).code

        async with trio.open_nursery() as nursery:
            start = 0
            for number, (header, _) in enumerate(headers):
                nursery.start_soon(store, number, start)
                start += header.shard_length
        taken = {
            header.shard_id: header.payload_hash
            for number, (header, _) in enumerate(headers)
            if number not in refused
        }
        codes = [refused.get(number, "") for number in range(len(headers))]
        receipt = self._receipt(taken, stores.pop()) if taken else b""
        return Message("ok", {"refused": codes, "receipt": receipt})

    async def _store_one(
        self, header: ShardHeader, header_bytes: bytes, payload: Buffer, *, for_repair: bool
    ) -> StoredShard:
        self.last_put_s = self._clock.now_s()
        stored = await self._store.put(
            header.shard_id, header_bytes, payload, payload_hash=header.payload_hash, for_repair=for_repair
        )
        self._note(header.shard_id)
        return stored

    async def store_here(
        self,
        header: ShardHeader,
        header_bytes: bytes,
        payload: Buffer,
        *,
        for_repair: bool = False,
        despite: Sequence[Dot] = (),
    ) -> None:
        """Store one shard of this machine's own uploads; it survives a power cut once this returns."""
        await self._taken_again(header.shard_id.encoding, despite)
        await self._store_one(header, header_bytes, payload, for_repair=for_repair)

    async def _confirm(self, message: Message) -> Message:
        shard = _shard_of(message)
        wanted = message.args.get("hash")
        await self._taken_again(shard.encoding, _despite_of(message).get(shard.encoding, ()))
        stored = await self._store.get(shard)
        header = parse_header(stored.header)
        if header.payload_hash != wanted:
            raise Refused("differs")
        return Message("ok", {"receipt": self._receipt({shard: header.payload_hash}, self._store.store)})

    def _receipt(self, shards: Mapping[ShardId, bytes], store: StoreId) -> bytes:
        receipt = Receipt(self._me, store, int(max(0.0, self._clock.wall_s())), shards)
        return sign_receipt(receipt, self._network_id, self._sign)


class ShardClient:
    """Asks holders, this machine among them. While `run` runs, shards for one machine travel together."""

    def __init__(
        self,
        *,
        me: PeerId,
        network_id: NetworkId,
        network: Network,
        server: ShardServer | None,
        public_of: Callable[[PeerId], bytes | None],
        verify: Callable[[bytes, bytes, bytes], None],
        lists_naming: ListsNaming = _no_lists,
    ) -> None:
        self._lists_naming = lists_naming
        self._me = me
        self._network_id = network_id
        self._network = network
        self._server = server
        self._public_of = public_of
        self._verify = verify
        self._outbox = ShardOutbox(self._deliver)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send what `put` hands over, until cancelled."""
        await self._outbox.run(task_status=task_status)

    async def _ask(self, holder: PeerId, message: Message, *, plane: Plane, timeout_s: float) -> Message:
        if holder == self._me:
            if self._server is None:
                raise Refused("not-found", "this machine holds no shards")
            return await self._server.handle(message)
        return await self._network.request(holder, message, plane=plane, timeout_s=timeout_s)

    async def put(
        self, holder: PeerId, header: ShardHeader, header_bytes: bytes, payload: Buffer, *, for_repair: bool = False
    ) -> None:
        """Hand a shard over; returns with the holder's verified receipt.

        Raises:
            Unavailable, Refused: it was not stored (or we never heard that it was).
            Forged, Malformed: the holder answered with something that is no receipt for this shard.
        """
        if holder == self._me:
            if self._server is None:
                raise Refused("not-found", "this machine holds no shards")
            encoding = header.shard_id.encoding
            despite = (await self._lists_naming([encoding])).get(encoding, ())
            await self._server.store_here(header, header_bytes, payload, for_repair=for_repair, despite=despite)
            return
        parcel = Parcel(header, header_bytes, payload, for_repair)
        if self._outbox.runs:
            await self._outbox.send(holder, parcel)
            return
        await self._deliver(holder, [parcel])
        if parcel.error is not None:
            raise parcel.error

    async def _deliver(self, holder: PeerId, parcels: Sequence[Parcel]) -> None:
        """One request for all `parcels`, those for repair apart; settles each."""
        for repair in (False, True):
            batch = [parcel for parcel in parcels if parcel.for_repair is repair]
            if batch:
                await self._deliver_alike(holder, batch, repair=repair)

    async def _deliver_alike(self, holder: PeerId, batch: Sequence[Parcel], *, repair: bool) -> None:
        # A copy: who handed a shard over may give up, and use its buffer again, while this request goes on.
        payload = b"".join([parcel.payload for parcel in batch])
        args: dict[str, object] = {"headers": [parcel.header_bytes for parcel in batch]}
        if repair:
            args["repair"] = True
        args |= await self._despite([parcel.header.shard_id.encoding for parcel in batch])
        reply = await self._ask(
            holder, Message(PUT, args, payload), plane=Plane.BULK, timeout_s=transfer_timeout_s(len(payload))
        )
        codes = reply.args.get("refused")
        if not isinstance(codes, list) or len(codes) != len(batch) or any(type(code) is not str for code in codes):
            raise Malformed("shard.put: not an answer")
        taken = {
            parcel.header.shard_id: parcel.header.payload_hash
            for parcel, code in zip(batch, codes, strict=True)
            if not code
        }
        if taken:
            self._read_receipt(holder, reply, taken)
        for parcel, code in zip(batch, codes, strict=True):
            parcel.settle(Refused(code[:32]) if code else None)

    async def _despite(self, encodings: Sequence[EncodingId]) -> dict[str, object]:
        """The argument that tells a holder which condemned lists these stripes are needed in spite of, if any."""
        named = await self._lists_naming(sorted(set(encodings)))
        if not named:
            return {}
        return {"despite": [[encoding, [list(name) for name in named[encoding]]] for encoding in sorted(named)]}

    async def confirm(self, holder: PeerId, shard: ShardId, payload_hash: bytes) -> None:
        """Ask a holder whether it still has exactly this shard, read from its disk. Raises like `put`."""
        args: dict[str, object] = {"encoding": shard.encoding, "index": shard.index, "hash": payload_hash}
        args |= await self._despite([shard.encoding])
        reply = await self._ask(
            holder, Message(CONFIRM, args), plane=Plane.CONTROL, timeout_s=REPLY_TIMEOUT_S
        )
        self._read_receipt(holder, reply, {shard: payload_hash})

    async def get(self, holder: PeerId, shard: ShardId, *, size_hint: int = 0) -> FetchedShard:
        """Fetch a shard. The caller verifies the payload (in its worker job, with the decoding).

        Raises:
            Unavailable, Refused: not from this holder, not now.
            Malformed, Forged: it sent something else.
        """
        reply = await self._ask(
            holder,
            Message(GET, {"encoding": shard.encoding, "index": shard.index}),
            plane=Plane.BULK,
            timeout_s=transfer_timeout_s(size_hint),
        )
        raw = reply.args.get("header")
        if type(raw) is not bytes:
            raise Malformed("shard.get: no header in the reply")
        header = parse_header(raw)
        if header.shard_id != shard:
            raise Forged("another shard than the one asked for")
        return FetchedShard(header, reply.payload)

    async def find(self, holder: PeerId, encoding: EncodingId) -> list[int]:
        """Which shards of a stripe a peer says it has."""
        reply = await self._ask(
            holder, Message(FIND, {"encoding": encoding}), plane=Plane.CONTROL, timeout_s=REPLY_TIMEOUT_S
        )
        indices = reply.args.get("indices")
        if not isinstance(indices, list) or len(indices) > CODE_LENGTH_MAX:
            raise Malformed("shard.find: no indices")
        return sorted({index for index in indices if type(index) is int and 0 <= index < CODE_LENGTH_MAX})

    def _read_receipt(self, holder: PeerId, reply: Message, expected: Mapping[ShardId, bytes]) -> None:
        """Check the receipt in a reply; the holder's own word needs no signature to itself."""
        raw = reply.args.get("receipt")
        public = self._public_of(holder)
        if type(raw) is not bytes or public is None:
            raise Malformed("no receipt")
        read_receipt(raw, self._network_id, public=public, holder=holder, expected=expected, verify=self._verify)


def _headers_of(message: Message) -> list[tuple[ShardHeader, bytes]]:
    raw = message.args.get("headers")
    if not isinstance(raw, list) or not 0 < len(raw) <= SHARDS_PER_REQUEST_MAX:
        raise Malformed("shard.put: no headers")
    if any(type(each) is not bytes for each in raw):
        raise Malformed("shard.put: a header that is none")
    return [(parse_header(each), each) for each in raw]


def _despite_of(message: Message) -> dict[EncodingId, list[Dot]]:
    """Which condemned lists the sender knows to name the stripes of its request. Raises Malformed."""
    raw = message.args.get("despite", [])
    if not isinstance(raw, list) or len(raw) > SHARDS_PER_REQUEST_MAX:
        raise Malformed(f"{message.kind}: despite what?")
    found: dict[EncodingId, list[Dot]] = {}
    for value in raw:
        row = Fields(value, "despite")
        encoding = encoding_id(row.raw(32))
        names = found.setdefault(encoding, [])
        for each in row.array(most=LISTS_NAMING_MAX):
            fields = Fields(each, "list")
            names.append(Dot(peer_id(fields.raw(32)), incarnation(fields.raw(8)), fields.integer(1, SEQUENCE_MAX)))
            fields.end()
        row.end()
    return found


def _encoding_of(message: Message) -> EncodingId:
    raw = message.args.get("encoding")
    if type(raw) is not bytes:
        raise Malformed(f"{message.kind}: no encoding")
    return encoding_id(raw)


def _shard_of(message: Message) -> ShardId:
    index = message.args.get("index")
    if type(index) is not int or not 0 <= index < CODE_LENGTH_MAX:
        raise Malformed(f"{message.kind}: no index")
    return ShardId(_encoding_of(message), index)
