"""Acknowledgement levels: how durable a file and its commit are before a person is told "done"."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from p2pstore.ids import PeerId
from p2pstore.placement.promise import NO_SITES, Promise, Sites


class Level(Enum):
    """From least to most. The value is the word that a person types."""

    HERE = "here"
    PLACED = "placed"
    SAFE = "safe"


def commit_level(
    me: PeerId, receipted_by: Collection[PeerId], promise: Promise, sites: Sites = NO_SITES
) -> Level:
    """How durable a commit is that this machine and `receipted_by` have fsynced.

    `safe`: no promised failure set contains all of them. `placed`: one other machine has it.
    """
    machines = {me, *receipted_by}
    houses = {sites.get(peer, "") for peer in machines}
    if len(machines) > promise.machines and (len(houses) > 1 or not promise.house):
        return Level.SAFE
    return Level.PLACED if len(machines) > 1 else Level.HERE
