"""Receipts: a holder's signed word that a shard is on its disk, fsynced and verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import EncodingId, NetworkId, PeerId, ShardId, StoreId, encoding_id, peer_id, store_id
from p2pstore.limits import CODE_LENGTH_MAX
from p2pstore.packing import Fields, pack, unpack

_CONTEXT: Final = b"p2pstore receipt v1\x00"
_BYTES_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a holder signs.

    Attributes:
        holder: who holds the shard.
        store: on which of its disks.
        shard: which shard.
        payload_hash: BLAKE3 of the payload as it was read back or written, 32 bytes.
        wall_s: the holder's clock, for people; decides nothing.
    """

    holder: PeerId
    store: StoreId
    shard: ShardId
    payload_hash: bytes
    wall_s: int

    def encode(self) -> bytes:
        """The bytes that are signed (after a context and the network id)."""
        return pack(
            [1, self.holder, self.store, self.shard.encoding, self.shard.index, self.payload_hash, self.wall_s]
        )


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
    expect_holder: PeerId,
    expect_shard: ShardId,
    expect_hash: bytes,
    verify: Callable[[bytes, bytes, bytes], None],
) -> Receipt:
    """The receipt in `data`, if it is exactly the one that was asked for.

    Raises:
        Malformed: not a receipt.
        Forged: wrong signature, or somebody else's shard, or another payload.
    """
    outer = Fields(unpack(data, bytes_max=_BYTES_MAX), "receipt", version=1)
    body = outer.raw(most=_BYTES_MAX)
    signature = outer.raw(64)
    outer.end()
    verify(public, signature, _message(network, body))
    fields = Fields(unpack(body, bytes_max=_BYTES_MAX), "receipt body", version=1)
    holder = peer_id(fields.raw(32))
    store = store_id(fields.raw(16))
    encoding: EncodingId = encoding_id(fields.raw(32))
    shard = ShardId(encoding, fields.integer(0, CODE_LENGTH_MAX - 1))
    payload_hash = fields.raw(32)
    wall_s = fields.integer(0, 2**40)
    fields.end()
    receipt = Receipt(holder, store, shard, payload_hash, wall_s)
    if receipt.encode() != body:
        raise Malformed("receipt: not in its one encoding")
    if (holder, shard, payload_hash) != (expect_holder, expect_shard, expect_hash):
        raise Forged("receipt for something else")
    return receipt
