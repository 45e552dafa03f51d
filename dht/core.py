"""The machine of one DHT node: `handle(event, now_s, wall_s)` returns what to send and which asks are done.

It has no clock, no socket and no dice of its own. Calls (one request, sent twice at most) carry what to do with their
answer; searches drive `lookup.Lookup` with calls; maintenance keeps the table honest. Nothing that arrives can raise.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from dht import limits
from dht.contacts import Contact, contact_of, is_loopback, is_usable
from dht.errors import Forged, Malformed
from dht.lookup import Lookup
from dht.records import EndpointRecord, IdOf, RecordStore, Sign, Verify, make_record
from dht.sealing import SALT_BYTES, Opened, ReplayWindow, Seals
from dht.seams import Address
from dht.table import Table
from dht.wire import Kind, Reply, Request, decode, encode_reply, encode_request

RECORD_COPIES_ENOUGH: Final = 3
"""A record met so often (or once, at the peer itself) ends the search: fresher ones are hardly to be found."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may differ between nodes and networks; the defaults are right for a household.

    Attributes:
        bucket_size: k.
        parallel: alpha.
        is_client: strangers cannot reach us: ask to be in nobody's table.
        record_life_s: how long our endpoint record is valid; it is published again at half of it.
        maintain_every_s: how often the table is looked after.
    """

    bucket_size: int = limits.BUCKET_SIZE
    parallel: int = limits.PARALLEL_ASKS
    is_client: bool = False
    record_life_s: float = limits.RECORD_LIFE_S
    maintain_every_s: float = limits.MAINTAIN_EVERY_S


@dataclass(slots=True)
class Stats:
    """Counts since the start, for status pages and benchmarks."""

    requests_sent: int = 0
    replies_sent: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    datagrams_dropped: int = 0
    timeouts: int = 0
    failures: int = 0
    evictions: int = 0
    lookups: int = 0
    lookups_local: int = 0
    rounds_total: int = 0
    rounds_most: int = 0


# --- events and effects -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrived:
    """A datagram came in."""

    data: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class Woken:
    """`next_deadline` has come, or it may have."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Join through these addresses. Result: how many nodes near us answered."""

    ticket: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class FindNode:
    """Who is near `key`? Result: list of contacts that answered, nearest first."""

    ticket: int
    key: bytes
    count: int


@dataclass(frozen=True, slots=True)
class FindEndpoint:
    """Where is `peer`? Result: its record or None."""

    ticket: int
    peer: bytes


@dataclass(frozen=True, slots=True)
class FindHolders:
    """Who says what about `key`? Result: list of (id of the one who answered, payload)."""

    ticket: int
    key: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Say where we are, now and until told otherwise. Result: how many nodes hold the record."""

    ticket: int
    addresses: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody waits for this ticket any more; ends with what was found so far."""

    ticket: int


Event = Arrived | Woken | Bootstrap | FindNode | FindEndpoint | FindHolders | Publish | Forget

Result = int | list[Contact] | EndpointRecord | list[tuple[bytes, bytes]] | None


@dataclass(frozen=True, slots=True)
class Send:
    """Send `data` to `address`."""

    data: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class Done:
    """The ask with this ticket has its result."""

    ticket: int
    result: Result


Effect = Send | Done


# --- what is under way --------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Call:
    """One request on its way. `contact` is None while only an address is known."""

    nonce: int
    address: Address
    contact: Contact | None
    body: bytes
    first_sent_s: float
    deadline_s: float
    timeout_s: float
    then: Callable[[Contact | None, Reply | None], None]
    late: Callable[[], None] | None
    attempts: int = 1


@dataclass(slots=True, eq=False)
class _Search:
    """One lookup and what it gathers."""

    kind: Kind
    lookup: Lookup
    finished: Callable[[_Search], None]
    values: list[tuple[bytes, bytes]] = field(default_factory=list)
    values_wanted: int = 0
    record: EndpointRecord | None = None
    record_copies: int = 0
    is_finished: bool = False


class Core:
    """See the module. All arguments are keyword-only; callables are pure and quick.

    Args:
        own_id: our 32-byte id, `id_of(public)`.
        public: our public key, 32 bytes.
        keys: datagram keys, newest first.
        rng: where nonces, salts and refresh targets come from.
        sign, verify, id_of: see `dht.records`.
        holders: what we say about a key: opaque payloads, at most 16 and 600 bytes count.
        admits: whether an id may take part; what others send is dropped unread.
        settings: see Settings.
        now_s: the time of birth.
    """

    def __init__(
        self,
        *,
        own_id: bytes,
        public: bytes,
        keys: Sequence[bytes],
        rng: Random,
        sign: Sign,
        verify: Verify,
        id_of: IdOf,
        holders: Callable[[bytes], list[bytes]],
        admits: Callable[[bytes], bool],
        settings: Settings,
        now_s: float,
    ) -> None:
        self.own_id = own_id
        self.settings = settings
        self.stats = Stats()
        self.table = Table(own_id, size=settings.bucket_size, now_s=now_s)
        self.records = RecordStore(own_id, verify=verify, id_of=id_of)
        self.seals = Seals(keys, rng.randbytes(SALT_BYTES))
        self._public, self._sign, self._id_of = public, sign, id_of
        self._holders, self._admits = holders, admits
        self._rng = rng
        self._replays = ReplayWindow()

        self._now_s = now_s
        self._wall_s = 0.0
        self._effects: list[Effect] = []
        self._calls: dict[int, _Call] = {}
        self._deadlines: list[tuple[float, int, int]] = []  # (deadline, order, nonce); answered ones are skipped
        self._order = 0
        self._searches: dict[int, _Search] = {}  # by ticket

        self._rtt_s = 0.0  # 0: nothing measured yet
        self._rtt_deviation_s = 0.0
        self._heard_any_s = float("-inf")
        self._silent: dict[Contact, float] = {}  # contact -> until
        self._lost: dict[bytes, Contact] = {}
        self._verifying: set[Contact] = set()
        self._everyone: list[Contact] = []
        self._everyone_s = float("-inf")
        self._is_rejoining = False
        self._join_through: dict[Address, None] = {}

        self._announced: tuple[tuple[str, ...], bytes] | None = None
        self._sequence = 0
        self._publish_s = float("inf")
        self._maintain_s = now_s + settings.maintain_every_s * (0.5 + 0.5 * rng.random())

    # --- the machine ----------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_s: float, wall_s: float) -> list[Effect]:
        """All effects of one event, in the order in which they are to be done."""
        self._now_s = now_s
        self._wall_s = wall_s
        match event:
            case Arrived(data, source):
                self._arrived(data, source)
            case Woken():
                self._woken()
            case FindNode(ticket, key, count):
                self._find_node(ticket, key, count)
            case FindEndpoint(ticket, peer):
                self._find_endpoint(ticket, peer)
            case FindHolders(ticket, key, count):
                self._find_holders(ticket, key, count)
            case Bootstrap(ticket, addresses):
                self._bootstrap(ticket, addresses)
            case Publish(ticket, addresses, body):
                self._publish(addresses, body, lambda count: self._done(ticket, count))
            case Forget(ticket):
                search = self._searches.get(ticket)
                if search is not None:
                    search.lookup.stop()
                    self._advance(search)
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float:
        """When to be woken at the latest."""
        deadlines = self._deadlines
        while deadlines:
            deadline_s, _, nonce = deadlines[0]
            call = self._calls.get(nonce)
            if call is not None and call.deadline_s == deadline_s:
                return min(deadline_s, self._maintain_s)
            heapq.heappop(deadlines)
        return self._maintain_s

    @property
    def is_idle(self) -> bool:
        """Whether no request and no search is under way."""
        return not self._calls and not self._searches

    def _woken(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._now_s:
            deadline_s, _, nonce = heapq.heappop(self._deadlines)
            call = self._calls.get(nonce)
            if call is not None and call.deadline_s == deadline_s:
                self._overdue(call)
        if self._maintain_s <= self._now_s:
            self._maintain_s = self._now_s + self.settings.maintain_every_s * (0.9 + 0.2 * self._rng.random())
            self._maintain()

    def _done(self, ticket: int, result: Result) -> None:
        self._searches.pop(ticket, None)
        self._effects.append(Done(ticket, result))

    def _send(self, data: bytes, address: Address) -> None:
        self.stats.bytes_sent += len(data)
        self._effects.append(Send(data, address))

    # --- calls ----------------------------------------------------------------------------------------------------

    def _call(
        self,
        address: Address,
        contact: Contact | None,
        kind: Kind,
        argument: bytes,
        then: Callable[[Contact | None, Reply | None], None],
        late: Callable[[], None] | None = None,
    ) -> None:
        """Ask; `then` gets who answered and the reply, or (contact, None) after two attempts without answer."""
        nonce = self._rng.getrandbits(64)
        body = encode_request(Request(kind, nonce, self.own_id, self.settings.is_client, argument))
        timeout_s = self._timeout_s(contact)
        deadline_s = self._now_s + timeout_s
        call = _Call(nonce, address, contact, body, self._now_s, deadline_s, timeout_s, then, late)
        self._calls[nonce] = call
        self._transmit(call)

    def _transmit(self, call: _Call) -> None:
        self._order += 1
        heapq.heappush(self._deadlines, (call.deadline_s, self._order, call.nonce))
        self.stats.requests_sent += 1
        self._send(self.seals.seal(call.body), call.address)

    def _timeout_s(self, contact: Contact | None) -> float:
        entry = None if contact is None else self.table.entry(contact)
        if entry is not None and entry.rtt_s > 0.0:
            wanted = 3.0 * entry.rtt_s
        elif self._rtt_s > 0.0:
            wanted = self._rtt_s + 4.0 * self._rtt_deviation_s
        else:
            return limits.REPLY_TIMEOUT_FIRST_S
        return min(max(wanted, limits.REPLY_TIMEOUT_LEAST_S), limits.REPLY_TIMEOUT_MOST_S)

    def _note_round_trip(self, rtt_s: float) -> None:
        """Smoothed over all contacts, with its deviation, as TCP does (RFC 6298)."""
        if self._rtt_s == 0.0:
            self._rtt_s, self._rtt_deviation_s = rtt_s, rtt_s / 2
        else:
            self._rtt_deviation_s += 0.25 * (abs(rtt_s - self._rtt_s) - self._rtt_deviation_s)
            self._rtt_s += 0.125 * (rtt_s - self._rtt_s)

    def _overdue(self, call: _Call) -> None:
        self.stats.timeouts += 1
        if call.attempts == 1:
            call.attempts = 2
            call.deadline_s = self._now_s + 2.0 * call.timeout_s
            self._transmit(call)
            if call.late is not None:
                call.late()
            return
        del self._calls[call.nonce]
        self._note_failure(call)
        call.then(call.contact, None)

    def _note_failure(self, call: _Call) -> None:
        self.stats.failures += 1
        contact = call.contact
        if contact is None or self._heard_any_s < call.first_sent_s:
            return  # nobody at all answered since: then it is our own link, and says nothing about them
        self._silent[contact] = self._now_s + limits.SILENT_S
        if len(self._silent) > limits.SILENT_MAX:
            del self._silent[next(iter(self._silent))]
        if self.table.failed(contact):
            self.stats.evictions += 1
            self._lost[contact.id] = contact
            if len(self._lost) > limits.LOST_MAX:
                del self._lost[next(iter(self._lost))]

    def _is_silent(self, contact: Contact) -> bool:
        return self._silent.get(contact, float("-inf")) > self._now_s

    # --- what arrives ---------------------------------------------------------------------------------------------

    def _arrived(self, data: bytes, source: Address) -> None:
        self.stats.bytes_received += len(data)
        opened = self.seals.open(data)
        if opened is None:
            self.stats.datagrams_dropped += 1
            return
        try:
            message = decode(opened.body)
        except Malformed:
            self.stats.datagrams_dropped += 1
            return
        if message.sender == self.own_id or not self._admits(message.sender):
            self.stats.datagrams_dropped += 1
        elif isinstance(message, Reply):
            self._replied(message, source)
        elif self._replays.is_new(opened.salt, opened.counter):
            self._requested(message, source, opened)
        else:
            self.stats.datagrams_dropped += 1

    def _replied(self, reply: Reply, source: Address) -> None:
        call = self._calls.get(reply.nonce)
        if call is None or call.address != source:
            self.stats.datagrams_dropped += 1
            return
        del self._calls[reply.nonce]
        self._heard_any_s = self._now_s
        rtt_s = None
        if call.attempts == 1:
            rtt_s = self._now_s - call.first_sent_s
            self._note_round_trip(rtt_s)
        contact = contact_of(reply.sender, source)
        was_lost = self._lost.pop(contact.id, None) is not None
        self._silent.pop(contact, None)
        self.table.heard(contact, rtt_s=rtt_s, now_s=self._now_s)
        if call.contact is not None and call.contact.id != contact.id:
            self._note_failure(call)  # somebody else lives there now
            call.then(call.contact, None)
        else:
            call.then(contact, reply)
        if was_lost:
            self._rejoin()

    def _requested(self, request: Request, source: Address, opened: Opened) -> None:
        kind, values, contacts = request.kind, list[bytes](), list[Contact]()
        if kind == Kind.FIND:
            contacts = self._closer(request)
        elif kind == Kind.ENDPOINT:
            record = self.records.get(request.argument, wall_s=self._wall_s)
            values = [] if record is None else [record.encoded]
            contacts = self._closer(request)
        elif kind == Kind.HOLDERS:
            values = _fitting(self._holders(request.argument))
            contacts = self._closer(request)
        elif kind == Kind.STORE:
            values = self._store(request, source)
        elif kind != Kind.PING:
            kind = Kind.REFUSED
        body = encode_reply(kind, request.nonce, self.own_id, contacts, values)
        self.stats.replies_sent += 1
        self._send(self.seals.seal(body, opened.key), source)
        if not request.is_client:
            self._consider(request.sender, source)

    def _closer(self, request: Request) -> list[Contact]:
        size = self.settings.bucket_size
        near = self.table.nearest(int.from_bytes(request.argument), size + 1)
        return [entry.contact for entry in near if not entry.failures and entry.contact.id != request.sender][:size]

    def _store(self, request: Request, source: Address) -> list[bytes]:
        """Keep the sender's own record; answer with the sequence number held then."""
        try:
            record = self.records.read(request.argument, wall_s=self._wall_s)
        except (Malformed, Forged):
            self.stats.datagrams_dropped += 1
            return []
        if record.peer != request.sender:
            self.stats.datagrams_dropped += 1
            return []
        held = self.records.keep(record, source)
        return [] if held is None else [held.sequence.to_bytes(8)]

    def _consider(self, node_id: bytes, source: Address) -> None:
        """Somebody asked us: to enter the table, it must first answer at the address it asked from."""
        if not is_usable(source, told_by_loopback=True):
            return
        contact = contact_of(node_id, source)
        entry = self.table.entry(contact)
        if entry is not None:
            if entry.contact == contact or entry.heard_s > self._now_s - limits.FRESH_S:
                return
        elif not self.table.has_room(contact):
            return
        if contact in self._verifying or len(self._verifying) >= limits.VERIFICATIONS_MAX or self._is_silent(contact):
            return
        self._verifying.add(contact)
        self._call(source, contact, Kind.PING, b"", lambda _who, _reply: self._verifying.discard(contact))

    # --- searches -------------------------------------------------------------------------------------------------

    def _search(
        self, kind: Kind, key: bytes, *, width: int, finished: Callable[[_Search], None], values_wanted: int = 0
    ) -> _Search:
        target = int.from_bytes(key)
        self.table.touch(target, self._now_s)
        # twice as many as are wanted: where all tables are alike, nobody else makes up for the dead among the nearest
        seeds = [entry.contact for entry in self.table.nearest(target, 2 * width)]
        lookup = Lookup(
            key,
            [contact for contact in seeds if not self._is_silent(contact)],
            width=width,
            parallel=self.settings.parallel,
        )
        self.stats.lookups += 1
        return _Search(kind, lookup, finished, values_wanted=values_wanted)

    def _start(self, search: _Search, ticket: int | None = None) -> None:
        if ticket is not None:
            self._searches[ticket] = search
        self._advance(search)

    def _advance(self, search: _Search) -> None:
        """Ask whom the lookup wants asked; finish when it is over."""
        if search.is_finished:
            return
        lookup = search.lookup
        for contact in lookup.next_asks():
            self._call(
                contact.address,
                contact,
                search.kind,
                lookup.target.id,
                lambda _who, reply, asked=contact: self._search_answered(search, asked, reply),  # type: ignore[misc]
                lambda asked=contact: self._search_late(search, asked),  # type: ignore[misc]
            )
        if not lookup.is_over:
            return
        search.is_finished = True
        self.stats.rounds_total += lookup.rounds
        self.stats.rounds_most = max(self.stats.rounds_most, lookup.rounds)
        if lookup.saw_everybody and (everyone := lookup.result(limits.LOOKUP_WIDTH_MAX)):
            self._everyone = everyone
            self._everyone_s = self._now_s
        search.finished(search)

    def _search_late(self, search: _Search, asked: Contact) -> None:
        search.lookup.late(asked)
        self._advance(search)

    def _search_answered(self, search: _Search, asked: Contact, reply: Reply | None) -> None:
        if search.is_finished:
            return
        if reply is None:
            search.lookup.failed(asked)
        else:
            is_cut = search.kind != Kind.FIND or len(reply.contacts) >= self.settings.bucket_size
            search.lookup.answered(asked, self._hearsay(reply.contacts, asked.ip, search.lookup), is_cut=is_cut)
            for value in reply.values:
                if search.kind == Kind.ENDPOINT:
                    self._gather_record(search, asked, value)
                elif search.kind == Kind.HOLDERS and len(search.values) < search.values_wanted:
                    search.values.append((asked.id, value))
                    if len(search.values) == search.values_wanted:
                        search.lookup.stop()
        self._advance(search)

    def _hearsay(self, contacts: list[Contact], told_by: str, lookup: Lookup) -> list[Contact]:
        """What is worth asking of what somebody told: new, usable, not us; our own knowledge of an id wins."""
        by_loopback = is_loopback(told_by)
        worth = []
        for contact in contacts:
            if lookup.knows(contact) or contact.id == self.own_id or not self._admits(contact.id):
                continue
            entry = self.table.entry(contact)
            if entry is not None and not entry.failures:
                contact = entry.contact
            if is_usable(contact.address, told_by_loopback=by_loopback) and not self._is_silent(contact):
                worth.append(contact)
        return worth

    def _find_node(self, ticket: int, key: bytes, count: int) -> None:
        count = min(max(count, 1), limits.LOOKUP_WIDTH_MAX)
        there = self._everybody()
        if there is not None:
            self.stats.lookups_local += 1
            target = int.from_bytes(key)
            self._done(ticket, sorted(there, key=lambda contact: contact.long_id ^ target)[:count])
            return
        width = max(count, self.settings.bucket_size)
        self._start(
            self._search(
                Kind.FIND, key, width=width, finished=lambda search: self._done(ticket, search.lookup.result(count))
            ),
            ticket,
        )

    def _everybody(self) -> list[Contact] | None:
        """All nodes that answered of late, if a search saw of late that there are fewer than it looked for, and not so
        many have come since that one may have come unseen."""
        if self._everyone_s < self._now_s - limits.FRESH_S:
            return None
        there = {contact.id: contact for contact in self._everyone if not self._is_silent(contact)}
        for entry in self.table.entries():
            if entry.heard_s >= self._now_s - limits.FRESH_S and not entry.failures:
                there[entry.contact.id] = entry.contact
        return list(there.values()) if len(there) < self.settings.bucket_size else None

    def _find_endpoint(self, ticket: int, peer: bytes) -> None:
        search = self._search(
            Kind.ENDPOINT,
            peer,
            width=self.settings.bucket_size,
            finished=lambda search: self._done(ticket, search.record),
        )
        search.record = self.records.get(peer, wall_s=self._wall_s)
        search.record_copies = int(search.record is not None)
        if peer == self.own_id:
            search.lookup.stop()
        self._start(search, ticket)

    def _gather_record(self, search: _Search, asked: Contact, encoded: bytes) -> None:
        try:
            record = self.records.read(encoded, wall_s=self._wall_s)
        except (Malformed, Forged):
            return
        if record.peer != search.lookup.target.id:
            return
        search.record_copies += 1
        if search.record is None or record.sequence > search.record.sequence:
            search.record = record
        if search.record_copies >= RECORD_COPIES_ENOUGH or asked.id == record.peer:
            search.lookup.stop()

    def _find_holders(self, ticket: int, key: bytes, count: int) -> None:
        search = self._search(
            Kind.HOLDERS,
            key,
            width=self.settings.bucket_size,
            values_wanted=min(max(count, 1), limits.HOLDER_ANSWERS_MAX),
            finished=lambda search: self._done(ticket, search.values),
        )
        self._start(search, ticket)

    # --- joining, publishing, looking after the table -------------------------------------------------------------

    def _bootstrap(self, ticket: int, addresses: tuple[Address, ...]) -> None:
        for address in addresses:
            if is_usable(address, told_by_loopback=True):
                self._join_through.pop(address, None)
                self._join_through[address] = None
        while len(self._join_through) > limits.BOOTSTRAP_ADDRESSES_MAX:
            del self._join_through[next(iter(self._join_through))]
        usable = [address for address in dict.fromkeys(addresses) if address in self._join_through]
        self._join(usable, lambda count: self._done(ticket, count))

    def _join(self, addresses: Sequence[Address], finished: Callable[[int], None]) -> None:
        """Ping the addresses; with the first that answers, look up ourselves, which tells those near us of us."""
        waiting = len(addresses)
        is_joining = False

        def answered(_who: Contact | None, reply: Reply | None) -> None:
            nonlocal waiting, is_joining
            waiting -= 1
            if reply is not None and not is_joining:
                is_joining = True
                self._start(self._own_search(lambda search: finished(len(search.lookup.result(search_width)))))
            elif not waiting and not is_joining:
                finished(0)

        search_width = self.settings.bucket_size
        if not addresses:
            finished(0)
        for address in addresses:
            self._call(address, None, Kind.PING, b"", answered)

    def _own_search(self, finished: Callable[[_Search], None]) -> _Search:
        return self._search(Kind.FIND, self.own_id, width=self.settings.bucket_size, finished=finished)

    def _rejoin(self) -> None:
        """Somebody lost is back, and others may be: look for those near us."""
        if self._is_rejoining:
            return
        self._is_rejoining = True
        self._silent.clear()
        self._everyone_s = float("-inf")

        def finished(_search: _Search) -> None:
            self._is_rejoining = False

        self._start(self._own_search(finished))

    def _publish(self, addresses: tuple[str, ...], body: bytes, finished: Callable[[int], None]) -> None:
        life_s = self.settings.record_life_s
        self._sequence = max(self._sequence + 1, int(self._wall_s * 1000))
        record = make_record(
            self._public,
            sequence=self._sequence,
            expires_s=int(self._wall_s + life_s),
            addresses=addresses,
            body=body,
            sign=self._sign,
            id_of=self._id_of,
        )
        self._announced = (addresses, body)
        self._publish_s = self._now_s + life_s / 2
        self.records.keep(record, None)
        self._start(self._own_search(lambda search: self._spread(record, search, finished)))

    def _spread(self, record: EndpointRecord, search: _Search, finished: Callable[[int], None]) -> None:
        """Give `record` to the nearest that answered."""
        holders = search.lookup.result(self.settings.bucket_size)
        waiting, stored = len(holders), 0

        def answered(_who: Contact | None, reply: Reply | None) -> None:
            nonlocal waiting, stored
            waiting -= 1
            if reply is not None and len(reply.values) == 1:
                held = int.from_bytes(reply.values[0])
                stored += held == record.sequence
                if record.sequence < held < 2**62:  # our clock went back since: outbid our former self
                    self._sequence = max(self._sequence, held)
                    self._publish_s = self._now_s
            if not waiting:
                finished(stored)

        if not holders:
            finished(0)
        for contact in holders:
            self._call(contact.address, contact, Kind.STORE, record.encoded, answered)

    def _maintain(self) -> None:
        """One round: doubtful contacts pinged, one lost tried, one bucket refreshed, records expired or published."""
        self.records.expire(self._wall_s)
        self._silent = {contact: until for contact, until in self._silent.items() if until > self._now_s}
        stale_s = self._now_s - limits.PING_AFTER_S
        doubtful = [entry for entry in self.table.entries() if entry.failures or entry.heard_s < stale_s]
        doubtful.sort(key=lambda entry: (entry.heard_s, entry.contact.id))
        doubted = doubtful[: limits.PINGS_PER_ROUND]
        if doubted:  # and one that ought to answer: if it does, silence is not our own link's fault
            doubted.append(max(self.table.entries(), key=lambda entry: (entry.heard_s, entry.contact.id)))
        for entry in doubted:
            self._call(entry.contact.address, entry.contact, Kind.PING, b"", _ignore)
        if self._lost:
            lost_id = next(iter(self._lost))
            lost = self._lost[lost_id] = self._lost.pop(lost_id)
            self._call(lost.address, lost, Kind.PING, b"", _ignore)
        if not len(self.table) and self._join_through:
            through = list(self._join_through)[: limits.PINGS_PER_ROUND]
            for address in through:  # next round others
                self._join_through[address] = self._join_through.pop(address)
            self._join(through, _ignore_count)
        lonely = self.table.lonely_buckets(self._now_s - limits.REFRESH_AFTER_S)
        if lonely and len(self.table):
            low, high = min(lonely, key=lambda bucket: bucket.last_updated).range
            key = self._rng.randint(low, high).to_bytes(limits.ID_BYTES)
            self._start(self._search(Kind.FIND, key, width=self.settings.bucket_size, finished=_ignore_search))
        if self._announced is not None and self._publish_s <= self._now_s:
            self._publish(*self._announced, _ignore_count)


def _fitting(values: list[bytes]) -> list[bytes]:
    """As many of the first values as one reply takes."""
    fitting = []
    left = limits.VALUES_BYTES_MAX
    for value in values[: limits.VALUES_MAX]:
        left -= len(value)
        if left < 0:
            break
        fitting.append(value)
    return fitting


def _ignore(_who: Contact | None, _reply: Reply | None) -> None:
    """The table has taken note of the answer, or of its lack."""


def _ignore_count(_count: int) -> None:
    """Nobody waits for it."""


def _ignore_search(_search: _Search) -> None:
    """The table has learned from the answers."""
