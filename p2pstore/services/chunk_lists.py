"""Reads which chunks a content consists of, page after page of its manifest."""

from __future__ import annotations

from collections.abc import AsyncIterator

from p2pstore.errors import Corrupt
from p2pstore.ids import ChunkId
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.version import ManifestRef
from p2pstore.pipeline.manifest import Page, open_page
from p2pstore.services.exporter import Exporter
from p2pstore.services.membership import Membership


class ChunkLists:
    """Opens manifests; holds nothing."""

    def __init__(self, *, membership: Membership, ledger: Ledger, exporter: Exporter) -> None:
        self._membership = membership
        self._ledger = ledger
        self._exporter = exporter

    async def chunks_of(self, reference: ManifestRef) -> AsyncIterator[ChunkId]:
        """Its chunks in order. Raises Corrupt where a page has not arrived, or there is no key for it."""
        top = await self._exporter.manifest(reference.manifest, reference.generation)
        if isinstance(top, Page):
            for chunk in top.parts:
                yield chunk.id
            return
        keys = self._membership.sealing_keys_of(reference.generation)
        assert keys is not None, "the root was opened with it"
        for part in top.parts:
            data = await self._ledger.manifest(part.id)
            if data is None:
                raise Corrupt("a page of the manifest has not arrived")
            for chunk in open_page(data, keys.dedupe, expect=part).parts:
                yield chunk.id
