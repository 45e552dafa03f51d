"""Receipts: a holder's signed word that shards are on its disk, fsynced and verified. docs/formats/receipt.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import NetworkId, PeerId, ShardId, StoreId, encoding_id, peer_id, store_id
from p2pstore.limits import CODE_LENGTH_MAX, SHARDS_PER_REQUEST_MAX
from p2pstore.packing import Fields, pack, unpack

_CONTEXT: Final = b"p2pstore receipt v1\x00"
_SHARD_BYTES_MAX: Final = 96
_BYTES_MAX: Final = 256 + SHARDS_PER_REQUEST_MAX * _SHARD_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a holder signs: one signature for all shards that came together.

    Attributes:
        holder: who holds the shards.
        store: on which of its disks.
        wall_s: the holder's clock, for people; decides nothing.
        shards: BLAKE3 of the payload of each, as it was written or read back, 32 bytes.
    """

    holder: PeerId
    store: StoreId
    wall_s: int
    shards: Mapping[ShardId, bytes]

    def encode(self) -> bytes:
        """The bytes that are signed (after a context and the network id)."""
        shards = [[shard.encoding, shard.index, self.shards[shard]] for shard in sorted(self.shards)]
        return pack([1, self.holder, self.store, self.wall_s, shards])


def _message(network: NetworkId, body: bytes) -> bytes:
    return _CONTEXT + network + body


def sign_receipt(receipt: Receipt, network: NetworkId, sign: Callable[[bytes], bytes]) -> bytes:
    """`receipt` and its Ed25519 signature as one byte string."""
    body = receipt.encode()
    return pack([1, body, sign(_message(network, body))])


def read_receipt(
    data: bytes,
    network: NetworkId,
    *,
    public: bytes,
    holder: PeerId,
    expected: Mapping[ShardId, bytes],
    verify: Callable[[bytes, bytes, bytes], None],
) -> Receipt:
    """The receipt in `data`, if it is `holder`'s for exactly the `expected` shards and payload hashes.

    Raises:
        Malformed: not a receipt.
        Forged: wrong signature, or for somebody else, other shards or other payloads.
    """
    receipt = open_receipt(data, network, public=public, holder=holder, verify=verify)
    if receipt.shards != expected:
        raise Forged("receipt for something else")
    return receipt


def open_receipt(
    data: bytes,
    network: NetworkId,
    *,
    public: bytes,
    holder: PeerId,
    verify: Callable[[bytes, bytes, bytes], None],
) -> Receipt:
    """The receipt in `data`, if it is `holder`'s, for whatever shards it names.

    Raises:
        Malformed: not a receipt.
        Forged: wrong signature, or of somebody else.
    """
    outer = Fields(unpack(data, bytes_max=_BYTES_MAX), "receipt", version=1)
    body = outer.raw(most=_BYTES_MAX)
    signature = outer.raw(64)
    outer.end()
    verify(public, signature, _message(network, body))
    fields = Fields(unpack(body, bytes_max=_BYTES_MAX), "receipt body", version=1)
    signer = peer_id(fields.raw(32))
    store = store_id(fields.raw(16))
    wall_s = fields.integer(0, 2**40)
    shards: dict[ShardId, bytes] = {}
    for value in fields.array(most=SHARDS_PER_REQUEST_MAX):
        row = Fields(value, "receipt shard")
        shard = ShardId(encoding_id(row.raw(32)), row.integer(0, CODE_LENGTH_MAX - 1))
        shards[shard] = row.raw(32)
        row.end()
    fields.end()
    receipt = Receipt(signer, store, wall_s, shards)
    if receipt.encode() != body:
        raise Malformed("receipt: not in its one encoding")
    if signer != holder:
        raise Forged("receipt of somebody else")
    return receipt
