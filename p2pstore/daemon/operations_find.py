"""What finds and sorts things: search, tags, conflicts, and the log.

```
search {words, tags, types, ...}     {entries: [...]} in pages, the latest changed first
tag {action: ls|add|rm, path, word}  words on entries
conflicts {}                         {conflicts: [...]} in pages
resolve {path, keep}                 ends one
log {since, machine, limit, follow}  {commits: [...]} in pages; with `verify`, checks all of them
```
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final, NoReturn

from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import EntryId, PeerId
from p2pstore.keys.identity import verify
from p2pstore.ledger.drafts import SetTag
from p2pstore.ledger.log import LogEntry
from p2pstore.ledger.search import Hit, Query
from p2pstore.metadata.clock import hlc_ms
from p2pstore.metadata.marks import tag_word
from p2pstore.metadata.name_match import NamePattern
from p2pstore.metadata.tree import Item
from p2pstore.node import Node
from p2pstore.services.addresses import moment
from p2pstore.services.finding import Finder, kinds_and_endings
from p2pstore.services.log_check import check_log
from p2pstore.services.resolving import resolve

LIMIT_MAX: Final = 100_000
"""Hits that one request may ask for."""

LOG_PAGE: Final = 100
"""Commits in one item of the answer: about 60 KB."""

MS_NS: Final = 1_000_000


class FindOperations:
    """The operations of one daemon that find things."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._finder = Finder(node.ledger, node.exporter, node.catalog)

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "search": self.search,
            "tag": self.tag,
            "conflicts": self.conflicts,
            "resolve": self.resolve,
            "log": self.log,
        }

    # --- search -------------------------------------------------------------------------------------------------------

    async def search(self, call: Call) -> dict[str, Any]:
        """Stream what is found."""
        args = call.args
        limit = arguments.integer(args, "limit", 100, most=LIMIT_MAX)
        kinds, endings = kinds_and_endings(arguments.texts(args, "types"))
        query = Query(
            pattern=NamePattern(tuple(arguments.texts(args, "words"))),
            tags=tuple(tag_word(word) for word in arguments.texts(args, "tags")),
            kinds=kinds,
            endings=endings,
            size_min=arguments.optional_integer(args, "larger"),
            size_max=arguments.optional_integer(args, "smaller"),
            mtime_min_ns=_day_ns(arguments.optional_text(args, "since"), end=False),
            mtime_max_ns=_day_ns(arguments.optional_text(args, "until"), end=True),
            deleted=arguments.flag(args, "deleted"),
        )
        on_machine = self._machine(arguments.optional_text(args, "on_machine"))
        found = 0
        pages = self._finder.find(query, on_machine=on_machine, conflict=arguments.flag(args, "conflict"))
        async with aclosing(pages):
            async for hits in pages:
                page = hits[: limit - found]
                if page:
                    await call.emit({"entries": [self._hit_map(hit) for hit in page]})
                found += len(page)
                if found >= limit:
                    return {"entries": found, "more": True}
        return {"entries": found, "more": False}

    def _machine(self, name: str | None) -> PeerId | None:
        if name is None:
            return None
        members = self._node.membership.roster.members()
        for member in members:
            if member.name == name:
                return member.peer_id
        raise Misuse(f"no machine is called {name!r}: {', '.join(sorted(member.name for member in members))}")

    def _hit_map(self, hit: Hit) -> dict[str, Any]:
        version = hit.held.version
        return {
            "path": arguments.shown(hit.path),
            "kind": version.kind.name.lower(),
            "size": version.size,
            "mtime_ns": version.mtime_ns,
            "when_ms": hlc_ms(hit.held.hlc),
            "machine": self._node.membership.name_of(hit.held.dot.author),
        }

    # --- tags ---------------------------------------------------------------------------------------------------------

    async def tag(self, call: Call) -> dict[str, Any]:
        """List tags, put one on, or take one off."""
        action = arguments.text(call.args, "action", among=("ls", "add", "rm"))
        path = arguments.optional_path(call.args, "path")
        if path is None:
            if action != "ls":
                raise Misuse("a tag is put on a path")
            counts = await self._node.ledger.all_tags()
            return {"path": None, "tags": [{"word": word, "count": count} for word, count in counts]}
        item = await self._node.ledger.resolve(path)
        if item is None or not path:
            raise PathFault("not-found", path)
        if action != "ls":
            word = tag_word(arguments.text(call.args, "word"))
            # what several entries are shown as one is tagged on the first, and untagged on all
            entries: tuple[EntryId, ...] = item.entries if action == "rm" else (item.entry,)
            await self._node.ledger.commit([SetTag(entry, word, present=action == "add") for entry in entries])
        words = {word for entry in item.entries for word in await self._node.ledger.tags_of(entry)}
        return {"path": arguments.shown(path), "tags": [{"word": word, "count": 1} for word in sorted(words)]}

    # --- conflicts ----------------------------------------------------------------------------------------------------

    async def conflicts(self, call: Call) -> dict[str, Any]:
        """Stream the names that have conflict copies."""
        count = 0
        pages = self._finder.conflicts()
        async with aclosing(pages):
            async for page in pages:
                if page.conflicts:
                    await call.emit(
                        {
                            "conflicts": [
                                {
                                    "path": arguments.shown((*conflict.folder, conflict.items[0].name)),
                                    "versions": [self._contestant_map(item) for item in conflict.items],
                                }
                                for conflict in page.conflicts
                            ]
                        }
                    )
                count += len(page.conflicts)
        return {"conflicts": count}

    def _contestant_map(self, item: Item) -> dict[str, Any]:
        return {
            **arguments.entry_map(item),
            "when_ms": hlc_ms(item.held.hlc),
            "machine": self._node.membership.name_of(item.held.dot.author),
        }

    async def resolve(self, call: Call) -> dict[str, Any]:
        """End a conflict."""
        path = arguments.path(call.args)
        keep = arguments.text(call.args, "keep", among=("this", "other", "both"))
        conflict = await resolve(self._node.ledger, path, keep)
        name = arguments.shown((*conflict.folder, conflict.items[0].name))
        return {"path": name, "versions": len(conflict.items), "kept": keep}

    # --- the log ------------------------------------------------------------------------------------------------------

    async def log(self, call: Call) -> dict[str, Any]:
        """Stream who did what, the latest first; or check the log; or follow it, the oldest first."""
        args = call.args
        if arguments.flag(args, "verify"):
            return await self._check_log()
        author = self._machine(arguments.optional_text(args, "machine"))
        limit = arguments.integer(args, "limit", 50, most=LIMIT_MAX)
        since_ns = _day_ns(arguments.optional_text(args, "since"), end=False)
        since_ms = 0 if since_ns is None else max(0, since_ns // MS_NS)
        if arguments.flag(args, "follow"):
            await self._follow_log(call, author, since_ms, min(limit, LOG_PAGE))
        sent = 0
        before: tuple[int, int] | None = None
        while sent < limit:
            entries, before = await self._node.ledger.log_page(
                before=before, since_ms=since_ms, author=author, limit=min(LOG_PAGE, limit - sent)
            )
            if entries:
                await call.emit({"commits": [self._log_map(entry) for entry in entries]})
            sent += len(entries)
            if before is None:
                break
        return {"commits": sent, "more": before is not None}

    async def _follow_log(self, call: Call, author: PeerId | None, since_ms: int, limit: int) -> NoReturn:
        """What was last, then what comes, until the client has enough."""
        ledger = self._node.ledger
        with ledger.subscribe() as news:
            number = await ledger.log_end()
            entries, _ = await ledger.log_page(since_ms=since_ms, author=author, limit=limit)
            await call.emit({"commits": [self._log_map(entry) for entry in reversed(entries)]})
            while True:
                async for change in news:
                    if change.own or change.remote:
                        break
                while entries := await ledger.log_after(number, author=author, limit=LOG_PAGE):
                    number = entries[-1].number
                    await call.emit({"commits": [self._log_map(entry) for entry in entries]})

    def _log_map(self, entry: LogEntry) -> dict[str, Any]:
        return {
            "when_ms": hlc_ms(entry.hlc),
            "machine": self._node.membership.name_of(entry.author),
            "hash": entry.hash.hex(),
            "operations": entry.operations,
            "deeds": [
                {
                    "change": deed.change,
                    "count": deed.count,
                    "paths": [{"path": arguments.shown(path)} for path in deed.samples],
                }
                for deed in entry.deeds
            ],
        }

    async def _check_log(self) -> dict[str, Any]:
        node = self._node
        checked = await check_log(node.ledger, node.seams.cpu, public_of=node.membership.public_of, verify=verify)
        return {
            "sound": all(one.problem is None and not one.chain.frozen for one in checked),
            "writers": [
                {
                    "machine": node.membership.name_of(one.chain.writer.author),
                    "life": one.chain.writer.incarnation.hex(),
                    "commits": one.commits,
                    "operations": one.sequence,
                    "end": one.commit_hash.hex(),
                    "problem": "two histories were signed" if one.chain.frozen else one.problem,
                }
                for one in checked
            ],
        }


def _day_ns(text: str | None, *, end: bool) -> int | None:
    """A date or minute as a limit of modification times: its first or last moment."""
    if text is None:
        return None
    span = moment(text)
    if span is None:
        raise Misuse(f"{text!r} is no date such as 2026-10-01 or 2026-10-01T18:30")
    return span[1] * MS_NS + MS_NS - 1 if end else span[0] * MS_NS
