"""Looks for what is wrong with this machine's part of the household, and names what helps."""

from __future__ import annotations

import time
from typing import Any

from p2pstore.daemon.doctor_check import check
from p2pstore.daemon.doctor_network import check_clock, check_firewall, check_router
from p2pstore.limits import COPIES_SHOWN_DAYS
from p2pstore.metadata.clock import hlc_ms
from p2pstore.node import Node
from p2pstore.pipeline.erasure.kernels import kernel_name
from p2pstore.storage.space import StoreState


async def examine(node: Node, port: int) -> list[dict[str, Any]]:
    """Every check, the good ones too. `port` is the first that this machine listens at."""
    checks = [_kernel(), _store(node), *await _damaged(node), await _ledger(node), *await _forks(node)]
    checks += await _frozen(node)
    checks.append(await _brake(node))
    checks += [_keys(node), _links(node), _clock(node), _firewall(node, port), _router(node, port)]
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
    names = await copies(node)
    if not names:
        return []
    what = f"two copies of one installation have written: {', '.join(names)}. Both edits were kept, as conflict copies"
    what += " where they met"
    fix = "on the copy: p2pstore down, remove its home folder, then p2pstore join; p2pstore conflicts"
    return [check("copies", "bad", what, fix)]


async def copies(node: Node) -> list[str]:
    """Machines of which two copies have written, as was found lately."""
    since_ms = int((time.time() - COPIES_SHOWN_DAYS * 86_400) * 1000)
    forks = await node.ledger.stated_forks()
    recent = {fork.writer.author for fork in forks if hlc_ms(fork.hlc) >= since_ms}
    # what the log froze and nobody has stated yet
    stated = {fork.writer for fork in forks}
    recent |= {writer.author for writer in node.ledger.frozen_writers() if writer not in stated}
    return sorted(map(node.membership.name_of, recent))


async def _frozen(node: Node) -> list[dict[str, Any]]:
    found = []
    for peer, count in (await node.ledger.frozen_counts()).items():
        name = node.membership.name_of(peer)
        what = f"{count:,} changes that {name} wrote are frozen: it was removed before anybody heard of them"
        found.append(check("frozen", "warn", what, f"p2pstore peers frozen; p2pstore peers adopt {name}"))
    return found


async def _brake(node: Node) -> dict[str, Any]:
    if not await node.brake.look():
        return check("brake", "ok", "no mass change")
    names = ", ".join(sorted({node.membership.name_of(change.author) for change, _ in node.brake.on}))
    what = f"it is on: {names} removed or rewrote much of a folder; nothing is let go until somebody has looked"
    return check("brake", "warn", what, "p2pstore brake")


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


def _clock(node: Node) -> dict[str, Any]:
    known = node.liveness.known()
    answering = {peer: known[peer].ahead_s for peer in node.liveness.answering()}
    ahead_s = {node.membership.name_of(peer): ahead for peer, ahead in answering.items() if ahead is not None}
    return check_clock(time.time(), ahead_s)


def _firewall(node: Node, port: int) -> dict[str, Any]:
    others = node.membership.others()
    came_in = [node.membership.name_of(peer) for peer in others if node.network.link_stats(peer).came_in]
    return check_firewall(port, came_in, len(node.liveness.answering()))


def _router(node: Node, port: int) -> dict[str, Any]:
    me = node.membership.myself
    if me is None:
        return check("router", "ok", "this machine is not a member")
    hosts = [address.rpartition(":")[0].strip("[]") for address in me.endpoints.control]
    members = node.membership.roster.members()
    known = node.liveness.known()
    away = [one.name for one in members if one.site != me.site and one.peer_id not in known]
    return check_router(hosts, away, port)
