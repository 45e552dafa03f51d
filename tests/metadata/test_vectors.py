"""What was written once can be read for ever: frozen bytes of commits, operations and vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from p2pstore.ids import ChunkId, Dot, EncodingId, GenerationId, Incarnation, PeerId
from p2pstore.keys.identity import verify
from p2pstore.metadata.commits import NO_COMMIT, check_commit, decode_commit
from p2pstore.metadata.operations import (
    MetadataKeys,
    SealedOperation,
    StripeStatement,
    decode_operation,
    encode_stripe,
    open_operation,
)
from p2pstore.metadata.vector import Vector, Writer
from tests.metadata.samples import FILE, KEYS, LARGE, OTHER, PAGE, SUPERSEDED, WRITER, sample_commit, sample_operations

VECTORS = Path(__file__).parent.parent / "vectors"


def frozen(name: str) -> dict[str, Any]:
    """One file of frozen vectors."""
    return dict(json.loads((VECTORS / f"{name}.json").read_text()))


def test_commits_are_what_they_were() -> None:
    vector = frozen("commit")
    first = sample_commit(1, NO_COMMIT)
    for made, kept in zip((first, sample_commit(5, first.hash)), vector["commits"], strict=True):
        raw = bytes.fromhex(kept["raw"])
        commit = decode_commit(raw)
        check_commit(commit, bytes.fromhex(vector["public"]), verify)
        assert commit.hash.hex() == kept["hash"]
        assert made.encode() == raw
    seen = Vector({WRITER: 8, OTHER: 9})
    assert seen.encode().hex() == vector["vector"]["raw"]
    assert seen.root().hex() == vector["vector"]["root"]


def test_operations_are_what_they_were() -> None:
    vector = frozen("operation")
    keys = MetadataKeys(
        GenerationId(bytes.fromhex(vector["generation"])), bytes.fromhex(vector["metadata_key"])
    )
    writer = Writer(
        PeerId(bytes.fromhex(vector["author"])), Incarnation(bytes.fromhex(vector["incarnation"]))
    )
    assert (keys, writer) == (KEYS, WRITER)
    assert [data.hex() for data in sample_operations(5)] == list(vector["operations"].values())
    for offset, (name, body) in enumerate({"file": FILE, "manifest_page": PAGE, "": None, "large_file": LARGE}.items()):
        if body is not None:
            operation = decode_operation(bytes.fromhex(vector["operations"][name]), writer)
            assert isinstance(operation, SealedOperation)
            assert operation.superseded == (tuple(sorted(SUPERSEDED)) if name == "file" else ())
            assert open_operation(operation, Dot(*writer, 5 + offset), keys) == body


def test_stripe_statements_are_what_they_were() -> None:
    vector = frozen("stripe_statement")
    statement = StripeStatement(
        EncodingId(bytes.fromhex(vector["encoding"])),
        ChunkId(bytes.fromhex(vector["chunk"])),
        vector["needed"],
        vector["sealed_length"],
        vector["shard_length"],
        vector["promise"],
    )
    assert encode_stripe(statement).hex() == vector["raw"]
    assert decode_operation(bytes.fromhex(vector["raw"]), WRITER) == statement
