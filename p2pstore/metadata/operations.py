"""Operations: what a commit carries. Sealed ones (versions, manifest pages, marks) for members, clear ones for all.

A storage peer sees of a sealed operation its dot, the dots it supersedes, a tag that is equal for operations on one
entry, and its padded length. Byte by byte: docs/formats/commit.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import (
    ChunkId,
    Dot,
    EncodingId,
    GenerationId,
    ManifestId,
    chunk_id,
    encoding_id,
    incarnation,
    manifest_id,
    peer_id,
)
from p2pstore.limits import (
    COPIES_BELOW_BYTES,
    DATA_SHARDS_MAX,
    OPERATION_BYTES_MAX,
    OPERATION_PADDED_BYTES_MIN,
    PROMISE_CHARS_MAX,
    SEALED_BYTES_MAX,
    SHARD_LENGTH_STEP,
)
from p2pstore.metadata.adoption import Adoption, adoption_fields, adoption_from_fields
from p2pstore.metadata.collection import (
    CollectionBody,
    Condemned,
    Consent,
    Intent,
    collection_fields,
    condemned_from_fields,
    consent_from_fields,
    intent_from_fields,
)
from p2pstore.metadata.folder_promise import FolderPromise, folder_promise_fields, folder_promise_from_fields
from p2pstore.metadata.forked import Forked, forked_fields, forked_from_fields
from p2pstore.metadata.marks import Mark, Snapshot, Tag, mark_fields, snapshot_from_fields, tag_from_fields
from p2pstore.metadata.retention import Retention, retention_fields, retention_from_fields
from p2pstore.metadata.vector import SEQUENCE_MAX, Writer, writer_of
from p2pstore.metadata.version import Version, version_fields, version_from_fields
from p2pstore.packing import Buffer, Fields, pack, unpack

SUPERSEDED_MAX: Final = 256
"""Dots that one operation supersedes: concurrent versions of one name, one by each of so many writers."""

MANIFEST_PAGES_MAX: Final = 2**20
"""Pages of one manifest: at limits.MANIFEST_CHUNKS_MAX chunks each, more than any disk holds."""

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LENGTH: Final = struct.Struct(">I")
_SEALED_FRAME_BYTES: Final = 32 * 1024
"""Room for header, superseded dots and padding around a body."""


@dataclass(frozen=True, slots=True)
class MetadataKeys:
    """What opens and seals the operations of one key generation.

    Attributes:
        generation: the generation's name.
        metadata: its metadata key, 32 bytes.
    """

    generation: GenerationId
    metadata: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ManifestPage:
    """A part of a manifest's encoding; the manifest is the data of its pages, joined.

    Attributes:
        manifest: the id of the whole.
        page: which part, from 0.
        pages: how many there are.
        data: its bytes; what they mean is the pipeline's.
    """

    manifest: ManifestId
    page: int
    pages: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StripeStatement:
    """What a blind peer must know to repair a stripe.

    Attributes:
        encoding: names the stripe.
        chunk: what it is an encoding of.
        needed: k.
        sealed_length: bytes of the sealed chunk.
        shard_length: bytes of each shard's payload.
        promise: what the stripe shall survive, e.g. "any-2".
    """

    encoding: EncodingId
    chunk: ChunkId
    needed: int
    sealed_length: int
    shard_length: int
    promise: str


SealedBody = Version | ManifestPage | Mark | Retention | Adoption | FolderPromise
"""What is sealed: for members only."""

ClearBody = StripeStatement | Forked | CollectionBody
"""What everybody reads, blind peers too."""

Body = SealedBody | ClearBody


class OperationKind(IntEnum):
    """First element of an operation's encoding. Kinds that this build does not know are carried and not read."""

    SEALED = 1
    STRIPE = 2
    FORKED = 3
    INTENT = 4
    CONDEMNED = 5
    CONSENT = 6


class BodyKind(IntEnum):
    """First element of a sealed body."""

    VERSION = 1
    MANIFEST_PAGE = 2
    TAG = 3
    SNAPSHOT = 4
    RETENTION = 5
    ADOPTION = 6
    FOLDER_PROMISE = 7


@dataclass(frozen=True, slots=True)
class SealedOperation:
    """The part of a version or manifest page that everybody sees, and the sealed rest.

    Attributes:
        tag: 16 bytes, equal for operations on one entry (or manifest) under one generation.
        superseded: dots that this one replaces, in rising order.
        nonce: 12 bytes.
        box: AES-256-GCM of the padded body; 16 bytes longer than that.
    """

    tag: bytes
    superseded: tuple[Dot, ...]
    nonce: bytes
    box: bytes


@lru_cache(maxsize=256)
def _cipher(metadata: bytes, writer: Writer) -> tuple[AESGCM, bytes]:
    """The AEAD of one writer and the key of its nonces."""
    material = blake3(
        b"".join((metadata, *writer)), derive_key_context="p2pstore operation key and nonce key 1"
    ).digest(64)
    return AESGCM(material[:32]), material[32:]


@lru_cache(maxsize=64)
def _tag_key(metadata: bytes) -> bytes:
    return blake3(metadata, derive_key_context="p2pstore operation tag key 1").digest(32)


def operation_padded_length(length: int) -> int:
    """Padmé as for chunks (`pipeline.padding`), with a minimum that suits operations."""
    if length <= OPERATION_PADDED_BYTES_MIN:
        return OPERATION_PADDED_BYTES_MIN
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def _body_fields(body: SealedBody) -> tuple[bytes, list[Any]]:
    """What the tag hides, and the body as an array."""
    match body:
        case Version():
            return b"entry" + body.entry, [int(BodyKind.VERSION), *version_fields(body)]
        case ManifestPage(manifest, page, pages, data):
            return b"manifest" + manifest, [int(BodyKind.MANIFEST_PAGE), manifest, page, pages, data]
        case Tag():
            return b"entry" + body.entry, [int(BodyKind.TAG), *mark_fields(body)]
        case Snapshot():
            return b"snapshot" + body.id, [int(BodyKind.SNAPSHOT), *mark_fields(body)]
        case Retention():
            return b"entry" + body.entry, [int(BodyKind.RETENTION), *retention_fields(body)]
        case Adoption():
            return b"adoption" + body.author, [int(BodyKind.ADOPTION), *adoption_fields(body)]
        case FolderPromise():
            return b"entry" + body.entry, [int(BodyKind.FOLDER_PROMISE), *folder_promise_fields(body)]


def _superseded_fields(superseded: Sequence[Dot], writer: Writer) -> list[Any]:
    """Dots of the writer itself as their sequence numbers, others whole."""
    return [dot.sequence if writer_of(dot) == writer else list(dot) for dot in superseded]


def _associated(dot: Dot, tag: bytes, superseded: list[Any]) -> bytes:
    return pack([*dot, tag, superseded])


def seal_operation(
    body: SealedBody, dot: Dot, keys: MetadataKeys, superseded: Sequence[Dot] = ()
) -> bytes:
    """The encoding of an operation that only members can read.

    The nonce is a keyed hash of the dot and the padded body, so it never meets two contents.

    Args:
        body: what it says.
        dot: its name; bound by the seal, not part of the encoding.
        keys: the generation to seal under.
        superseded: dots that it replaces, in any order.
    """
    names, fields = _body_fields(body)
    replaced = _superseded_fields(sorted(set(superseded)), writer_of(dot))
    return seal_plain(names, pack(fields), dot, keys, replaced)


def seal_plain(names: bytes, plain: bytes, dot: Dot, keys: MetadataKeys, replaced: list[Any]) -> bytes:
    """The same from an encoded body: what its tag hides, the body, and the superseded dots as they are encoded."""
    tag = blake3(names, key=_tag_key(keys.metadata)).digest(_TAG_BYTES)
    cipher, nonce, padded, associated = _sealing(tag, plain, dot, keys, replaced)
    return pack([int(OperationKind.SEALED), tag, replaced, nonce, cipher.encrypt(nonce, padded, associated)])


def _sealing(
    tag: bytes, plain: bytes, dot: Dot, keys: MetadataKeys, replaced: list[Any]
) -> tuple[AESGCM, bytes, bytes, bytes]:
    """Cipher, nonce, padded body and associated data: a function of the body, so that a body is sealed in one way."""
    cipher, nonce_key = _cipher(keys.metadata, writer_of(dot))
    length = operation_padded_length(_LENGTH.size + len(plain))
    padded = b"".join((_LENGTH.pack(len(plain)), plain, bytes(length - _LENGTH.size - len(plain))))
    associated = _associated(dot, tag, replaced)
    return cipher, blake3(associated, key=nonce_key).update(padded).digest(_NONCE_BYTES), padded, associated


def hidden_names(body: list[Any]) -> bytes | None:
    """What the tag of a version or manifest page hides, from its decoded body; None for other bodies."""
    match body:
        case [BodyKind.VERSION, bytes(entry), *_]:
            return b"entry" + entry
        case [BodyKind.MANIFEST_PAGE, bytes(manifest), *_]:
            return b"manifest" + manifest
        case _:
            return None


def plain_of(data: Buffer, dot: Dot, keys: MetadataKeys) -> tuple[bytes, list[Any]] | None:
    """The encoded body of a version or manifest page, and the superseded dots as they are encoded, such that
    `seal_plain` gives exactly `data` again; None if it would not, or it is another operation."""
    try:
        values = unpack(data, bytes_max=OPERATION_BYTES_MAX + _SEALED_FRAME_BYTES)
        match values:
            case [OperationKind.SEALED, bytes(tag), list(replaced), bytes(nonce), bytes(box)]:
                padded = _cipher(keys.metadata, writer_of(dot))[0].decrypt(nonce, box, _associated(dot, tag, replaced))
            case _:
                return None
        plain = padded[_LENGTH.size : _LENGTH.size + _LENGTH.unpack_from(padded)[0]]
        names = hidden_names(unpack(plain, bytes_max=OPERATION_BYTES_MAX))
    except (InvalidTag, Malformed, struct.error, ValueError, TypeError):
        return None
    if names is None or blake3(names, key=_tag_key(keys.metadata)).digest(_TAG_BYTES) != tag:
        return None
    _, right_nonce, right_padded, _ = _sealing(tag, plain, dot, keys, replaced)
    if (right_nonce, right_padded) != (nonce, padded) or pack(values) != bytes(data):
        return None
    return plain, replaced


def encode_stripe(statement: StripeStatement) -> bytes:
    """The encoding of a stripe statement: clear, for blind peers too; the commit's signature covers it."""
    return pack(
        [
            int(OperationKind.STRIPE),
            statement.encoding,
            statement.chunk,
            statement.needed,
            statement.sealed_length,
            statement.shard_length,
            statement.promise,
        ]
    )


_CLEAR_KINDS: Final = {
    Intent: OperationKind.INTENT,
    Condemned: OperationKind.CONDEMNED,
    Consent: OperationKind.CONSENT,
}


def encode_clear(body: ClearBody) -> bytes:
    """The encoding of an operation that everybody reads; the commit's signature covers it."""
    if isinstance(body, StripeStatement):
        return encode_stripe(body)
    if isinstance(body, Forked):
        return pack([int(OperationKind.FORKED), *forked_fields(body)])
    return pack([int(_CLEAR_KINDS[type(body)]), *collection_fields(body)])


def decode_operation(data: Buffer, writer: Writer) -> SealedOperation | ClearBody | None:
    """What everybody can read of an operation by `writer`; None for a kind that this build does not know.

    Raises:
        Malformed: a known kind with wrong fields.
    """
    fields = Fields(unpack(data, bytes_max=OPERATION_BYTES_MAX + _SEALED_FRAME_BYTES), "operation")
    operation: SealedOperation | ClearBody
    match fields.integer(0, 2**16):
        case OperationKind.SEALED:
            tag = fields.raw(_TAG_BYTES)
            superseded = _read_superseded(fields.array(most=SUPERSEDED_MAX), writer)
            operation = SealedOperation(
                tag, superseded, fields.raw(_NONCE_BYTES), fields.raw(most=OPERATION_BYTES_MAX + _SEALED_FRAME_BYTES)
            )
        case OperationKind.STRIPE:
            operation = StripeStatement(
                encoding=encoding_id(fields.raw(32)),
                chunk=chunk_id(fields.raw(32)),
                needed=fields.integer(1, DATA_SHARDS_MAX),
                sealed_length=fields.integer(1, SEALED_BYTES_MAX),
                shard_length=fields.integer(1, SEALED_BYTES_MAX + SHARD_LENGTH_STEP + COPIES_BELOW_BYTES),
                promise=fields.text(most=PROMISE_CHARS_MAX),
            )
        case OperationKind.FORKED:
            operation = forked_from_fields(fields)
        case OperationKind.INTENT:
            operation = intent_from_fields(fields)
        case OperationKind.CONDEMNED:
            operation = condemned_from_fields(fields)
        case OperationKind.CONSENT:
            operation = consent_from_fields(fields)
        case _:
            return None
    fields.end()
    return operation


def readable_operations(
    operations: Iterable[Buffer], writer: Writer, *, first: int = 1
) -> Iterator[tuple[int, SealedOperation | ClearBody]]:
    """Operations of one commit with their sequences; what this build cannot read is carried, and left out here."""
    for sequence, data in enumerate(operations, start=first):
        try:
            operation = decode_operation(data, writer)
        except Malformed:
            continue
        if operation is not None:
            yield sequence, operation


def _read_superseded(values: list[Any], writer: Writer) -> tuple[Dot, ...]:
    dots: list[Dot] = []
    for value in values:
        if type(value) is int:
            if not 1 <= value <= SEQUENCE_MAX:
                raise Malformed("superseded: sequence out of range")
            dots.append(Dot(*writer, value))
        else:
            fields = Fields(value, "superseded")
            dots.append(
                Dot(peer_id(fields.raw(32)), incarnation(fields.raw(8)), fields.integer(1, SEQUENCE_MAX))
            )
            fields.end()
    if sorted(set(dots)) != dots:
        raise Malformed("superseded: out of order")
    return tuple(dots)


def open_operation(operation: SealedOperation, dot: Dot, keys: MetadataKeys) -> SealedBody | None:
    """The body of a sealed operation; None for a kind of body that this build does not know.

    Raises:
        Forged: not sealed under these keys by this dot's writer, or changed since.
        Malformed: properly sealed rubbish.
    """
    cipher, _ = _cipher(keys.metadata, writer_of(dot))
    associated = _associated(dot, operation.tag, _superseded_fields(operation.superseded, writer_of(dot)))
    try:
        padded = cipher.decrypt(operation.nonce, operation.box, associated)
    except InvalidTag:
        raise Forged("operation: seal does not open") from None
    if len(padded) < _LENGTH.size:
        raise Malformed("operation: body too short")
    end = _LENGTH.size + _LENGTH.unpack_from(padded)[0]
    if end > len(padded) or padded.count(0, end) != len(padded) - end:
        raise Malformed("operation: padding is not zeros")
    fields = Fields(unpack(padded[_LENGTH.size : end], bytes_max=OPERATION_BYTES_MAX), "operation body")
    body: SealedBody
    match fields.integer(0, 2**16):
        case BodyKind.VERSION:
            body = version_from_fields(fields)
        case BodyKind.MANIFEST_PAGE:
            manifest = manifest_id(fields.raw(32))
            page = fields.integer(0, MANIFEST_PAGES_MAX - 1)
            body = ManifestPage(
                manifest,
                page,
                fields.integer(page + 1, MANIFEST_PAGES_MAX),
                fields.raw(most=OPERATION_BYTES_MAX),
            )
        case BodyKind.TAG:
            body = tag_from_fields(fields)
        case BodyKind.SNAPSHOT:
            body = snapshot_from_fields(fields)
        case BodyKind.RETENTION:
            body = retention_from_fields(fields)
        case BodyKind.ADOPTION:
            body = adoption_from_fields(fields)
        case BodyKind.FOLDER_PROMISE:
            body = folder_promise_from_fields(fields)
        case _:
            return None
    fields.end()
    return body
