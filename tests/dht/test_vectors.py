"""The datagram format, byte for byte: frozen in tests/vectors/dht.json, described in docs/formats/datagram.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dht.contacts import contact_of
from dht.records import make_record, read_record
from dht.sealing import Seals, boot_key
from dht.wire import Reply, Request, decode, encode_reply, encode_request

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "dht.json").read_text())


def test_sealing_is_what_it_was() -> None:
    vector = {name: bytes.fromhex(value) for name, value in VECTORS["sealing"].items()}
    seals = Seals([vector["key"]], vector["salt"])
    assert boot_key(vector["key"], vector["salt"]) == vector["boot_key"]
    assert seals.seal(vector["body"]) == vector["first_datagram"]
    assert seals.seal(vector["body"]) == vector["second_datagram"]
    opened = Seals([vector["key"]], bytes(8)).open(vector["second_datagram"])
    assert opened is not None
    assert (opened.body, opened.counter) == (vector["body"], 2)


def test_requests_are_what_they_were() -> None:
    for vector in VECTORS["requests"]:
        request = Request(
            vector["kind"],
            vector["nonce"],
            bytes.fromhex(vector["sender"]),
            vector["is_client"],
            bytes.fromhex(vector["argument"]),
        )
        body = bytes.fromhex(vector["body"])
        assert encode_request(request) == body
        assert decode(body) == request


def test_replies_are_what_they_were() -> None:
    for vector in VECTORS["replies"]:
        contacts = [contact_of(bytes.fromhex(node), (host, port)) for node, host, port in vector["contacts"]]
        values = [bytes.fromhex(value) for value in vector["values"]]
        sender, body = bytes.fromhex(vector["sender"]), bytes.fromhex(vector["body"])
        assert encode_reply(vector["kind"], vector["nonce"], sender, contacts, values) == body
        assert decode(body) == Reply(vector["kind"], vector["nonce"], sender, contacts, values)


def test_records_are_what_they_were() -> None:
    vector = VECTORS["record"]
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private"]))
    record = make_record(
        private.public_key().public_bytes_raw(),
        sequence=vector["sequence"],
        expires_s=vector["expires_s"],
        addresses=tuple(vector["addresses"]),
        body=bytes.fromhex(vector["body"]),
        sign=private.sign,
        id_of=lambda public: blake3(public).digest(),
    )
    assert record.encoded.hex() == vector["encoded"]
    assert record.peer.hex() == vector["peer"]
    read = read_record(record.encoded, verify=lambda *_: True, id_of=lambda public: blake3(public).digest())
    assert read == record
