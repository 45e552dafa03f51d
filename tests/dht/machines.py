"""One core without a network: scripted conversations for the tests in this folder."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dht.core import Arrived, Core, Effect, Event, Send, Settings
from dht.sealing import Seals
from dht.seams import Address
from dht.wire import Kind, Reply, Request, decode, encode_reply, encode_request
from simulations.dht_nodes import TOY_NETWORK_KEY, toy_id, toy_signature, toy_verify

OTHER: Address = ("10.0.0.2", 4000)
WALL_S = 1_800_000_000.0


def make_core(
    *,
    seed: int = 1,
    settings: Settings | None = None,
    holders: Callable[[bytes], list[bytes]] = lambda _key: [],
) -> Core:
    """A core with toy keys, born at 0."""
    rng = Random(seed)
    public = rng.randbytes(32)
    return Core(
        own_id=toy_id(public),
        public=public,
        keys=[TOY_NETWORK_KEY],
        rng=rng,
        sign=lambda message: toy_signature(public, message),
        verify=toy_verify,
        id_of=toy_id,
        holders=holders,
        admits=lambda _id: True,
        settings=settings or Settings(),
        now_s=0.0,
    )


class Talker:
    """Somebody with the network's key who says what the test tells him to."""

    def __init__(self, core: Core, *, salt: bytes = b"talker 1", sender: bytes = bytes(32), source: Address = OTHER):
        self.core = core
        self.seals = Seals([TOY_NETWORK_KEY], salt)
        self.sender = sender
        self.source = source
        self.now_s = 1.0

    def say(self, body: bytes, *, source: Address | None = None) -> list[Effect]:
        """Send a body; what the core does."""
        return self.deliver(self.seals.seal(body), source=source)

    def deliver(self, data: bytes, *, source: Address | None = None) -> list[Effect]:
        """Send raw bytes."""
        return self.handle(Arrived(data, source or self.source))

    def handle(self, event: Event) -> list[Effect]:
        """Any event, now."""
        return self.core.handle(event, self.now_s, WALL_S)

    def ask(self, kind: Kind, argument: bytes = b"", *, nonce: int = 7, is_client: bool = True) -> list[Effect]:
        """Send a request."""
        return self.say(encode_request(Request(kind, nonce, self.sender, is_client, argument)))

    def answer(self, request: Request, *, source: Address | None = None, sender: bytes | None = None) -> list[Effect]:
        """Reply to a request with nothing in it."""
        return self.say(encode_reply(request.kind, request.nonce, sender or self.sender, [], []), source=source)

    def read(self, effect: Effect) -> Request | Reply:
        """What the core sent."""
        assert isinstance(effect, Send)
        opened = self.seals.open(effect.data)
        assert opened is not None
        return decode(opened.body)

    def requests(self, effects: list[Effect]) -> list[Request]:
        """The requests among what the core sent."""
        read = [self.read(effect) for effect in effects if isinstance(effect, Send)]
        return [message for message in read if isinstance(message, Request)]
