"""Looks for what is wrong with this machine's part of the household, and names what helps."""

from __future__ import annotations

import time
from typing import Any

from p2pstore.limits import CLOCK_SKEW_SHOWN_S
from p2pstore.node import Node
from p2pstore.pipeline.erasure.kernels import kernel_name
from p2pstore.storage.space import StoreState


def check(name: str, state: str, what: str, fix: str = "") -> dict[str, Any]:
    """One finding: state is "ok", "warn" or "bad"; `fix` is what to type or do."""
    return {"name": name, "state": state, "what": what, "fix": [fix] if fix else []}


async def examine(node: Node) -> list[dict[str, Any]]:
    """Every check, the good ones too."""
    checks = [_kernel(), _store(node), *await _damaged(node), await _ledger(node), *await _forks(node)]
    checks += await _frozen(node)
    checks += [_keys(node), _links(node), _clock()]
    return checks


def _kernel() -> dict[str, Any]:
    name = kernel_name()
    if name.startswith("isa-l"):
        return check("erasure code", "ok", f"kernel {name}")
    return check("erasure code", "warn", f"slow kernel {name}", "pip install pyeclib")


def _store(node: Node) -> dict[str, Any]:
    usage = node.store.usage()
    what = f"{usage.shard_count:,} shards, {usage.used_bytes:,} of {usage.given_bytes:,} bytes used"
    match usage.state:
        case StoreState.ACCEPTING:
            return check("store", "ok", what)
        case StoreState.ASLEEP:
            return check("store", "bad", "its disk is away", "connect the disk, then p2pstore down; p2pstore up")
        case StoreState.MENDING:
            return check("store", "warn", "its index is being rebuilt; that ends by itself")
    return check("store", "warn", f"{usage.state.value}: {what}", "p2pstore peers limit SIZE")


async def _damaged(node: Node) -> list[dict[str, Any]]:
    damaged = node.store.usage().damaged_count
    if damaged:
        return [check("shards", "bad", f"{damaged:,} shards on this disk are damaged and in quarantine")]
    return [check("shards", "ok", "none is known to be damaged")]


async def _ledger(node: Node) -> dict[str, Any]:
    health = await node.ledger.health()
    if health.missing:
        what = f"{health.missing:,} operations are lost here; machines that have them are asked"
        return check("ledger", "bad", what, "switch on the other machines")
    if node.ledger.damaged_as is not None:
        what = f"it was damaged, set aside as {node.ledger.damaged_as}, and is refilled by peers"
        return check("ledger", "warn", what)
    if health.lost or health.rows:
        back = f"{health.restored:,} operations came back from other machines, {health.rows:,} rows were made anew"
        return check("ledger", "warn", f"this disk has damaged it: {back}; nothing is missing", "check the disk")
    if health.differences:
        return check("ledger", "ok", f"sound; {health.differences:,} times another machine's was not")
    return check("ledger", "ok", "sound")


async def _forks(node: Node) -> list[dict[str, Any]]:
    forks = await node.ledger.forks()
    if not forks:
        return []
    names = ", ".join(sorted({node.membership.name_of(fork.writer.author) for fork in forks}))
    return [check("copies", "bad", f"two copies of one installation have written: {names}", "stop one of them")]


async def _frozen(node: Node) -> list[dict[str, Any]]:
    found = []
    for peer, count in (await node.ledger.frozen_counts()).items():
        name = node.membership.name_of(peer)
        what = f"{count:,} changes that {name} wrote are frozen: it was removed before anybody had heard of them"
        found.append(check("frozen", "warn", what, f"p2pstore peers frozen; p2pstore peers adopt {name}"))
    return found


def _keys(node: Node) -> dict[str, Any]:
    if node.membership.keyring.may_write_with(node.membership.roster):
        return check("keys", "ok", "this machine can write")
    return check("keys", "warn", "no key generation fits the members; an admin's machine makes one when it is on")


def _links(node: Node) -> dict[str, Any]:
    others = node.membership.others()
    if not others:
        return check("machines", "warn", "this is the only machine", "p2pstore invite")
    away = [node.membership.name_of(peer) for peer in others if not node.liveness.answers(peer)]
    if not away:
        return check("machines", "ok", f"all {len(others)} others answer")
    state = "bad" if len(away) == len(others) else "warn"
    return check("machines", state, f"no answer from {', '.join(away)}", "p2pstore peers")


def _clock() -> dict[str, Any]:
    if time.time() < 1_700_000_000 - CLOCK_SKEW_SHOWN_S:
        return check("clock", "bad", "it is years behind", "set the time; nothing is lost meanwhile")
    return check("clock", "ok", "plausible")
