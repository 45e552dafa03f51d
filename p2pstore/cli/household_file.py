"""Reads the file that describes a household for `sim what-if`. Every error names the key, and what to write there."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from p2pstore.cli.text import parse_size
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.errors import Misuse
from p2pstore.limits import HOUSEHOLD_FILE_BYTES_MAX, PLANNED_BYTES_MAX, PLANNED_MACHINES_MAX
from p2pstore.placement.promise import household_promise, promise_named
from p2pstore.placement.prospect import ABSENCES_YEARLY, Household, PlannedMachine
from p2pstore.placement.ranking import AWAKE
from p2pstore.placement.risk import MACHINE_LOST_YEARLY, SITE_LOST_YEARLY

REPLACED_DAYS: Final = 14.0
"""Until somebody has bought a new disk, and put it in."""

REBUILD_MBIT: Final = 20.0
"""What a usual line sends: a terabyte takes 4.6 days."""

_GUIDE: Final = "p2pstore help what-if"
_MACHINE_KEYS: Final = ("site", "size", "steadiness", "awake", "lost_yearly", "absences_yearly")
_KEYS: Final = ("promise", "stored", "machines", "sites", "replaced_days", "rebuild_mbit")


def read_household(path: Path) -> Household:
    """The household that a TOML file describes. Raises Failure."""
    try:
        with path.open("rb") as file:
            raw = file.read(HOUSEHOLD_FILE_BYTES_MAX + 1)
        if len(raw) > HOUSEHOLD_FILE_BYTES_MAX:
            raise _fault(path, "it is too long", f"{HOUSEHOLD_FILE_BYTES_MAX:,} bytes are read at most")
        return _household(path, tomllib.loads(raw.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _fault(path, "it is not TOML", str(error)) from None


def _household(path: Path, table: Mapping[str, Any]) -> Household:
    _only(path, "", table, _KEYS)
    machines = _tables(path, table, "machines")
    if not machines:
        raise _fault(path, "it has no machines", "each has a part of its own: [machines.nas]")
    if len(machines) > PLANNED_MACHINES_MAX:
        raise _fault(path, f"it has {len(machines)} machines", f"at most {PLANNED_MACHINES_MAX} are looked at")
    planned = tuple(_machine(path, name, each) for name, each in machines.items())
    stand = sorted({each.site for each in planned})
    sites = _tables(path, table, "sites")
    _only(path, "sites", sites, stand)
    for name, each in sites.items():
        _only(path, f"sites.{name}", each, ("lost_yearly",))
    words = _text(path, "promise", table["promise"], "any-1") if "promise" in table else None
    try:
        promise = household_promise(len(planned)) if words is None else promise_named(words)
    except Misuse as error:
        raise _fault(path, f"promise is {words!r}", str(error)) from None
    return Household(
        planned,
        promise,
        _size(path, "stored", table["stored"]) if "stored" in table else None,
        {
            name: _share(path, f"sites.{name}.lost_yearly", sites.get(name, {}).get("lost_yearly", SITE_LOST_YEARLY))
            for name in stand
        },
        _number(path, "replaced_days", table.get("replaced_days", REPLACED_DAYS), 0, 3650),
        _number(path, "rebuild_mbit", table.get("rebuild_mbit", REBUILD_MBIT), 0.001, 1e6) * 1e6 / 8,
    )


def _machine(path: Path, name: str, table: Mapping[str, Any]) -> PlannedMachine:
    where = f"machines.{name}"
    _only(path, where, table, _MACHINE_KEYS)
    for key, example in (("site", '"home"'), ("size", '"4T"')):
        if key not in table:
            raise _fault(path, f"{where} has no {key}", f"write {key} = {example} below [{where}]")
    kind = _text(path, f"{where}.steadiness", table.get("steadiness", "always-on"), "always-on")
    if kind not in AWAKE:
        raise _fault(path, f"{where}.steadiness is {kind!r}", f"write one of {', '.join(map(repr, AWAKE))}")
    return PlannedMachine(
        name,
        _text(path, f"{where}.site", table["site"], "home"),
        kind,
        _size(path, f"{where}.size", table["size"]),
        _share(path, f"{where}.awake", table.get("awake", AWAKE[kind])),
        _share(path, f"{where}.lost_yearly", table.get("lost_yearly", MACHINE_LOST_YEARLY[kind])),
        _number(path, f"{where}.absences_yearly", table.get("absences_yearly", ABSENCES_YEARLY[kind]), 0, 366),
    )


def _tables(path: Path, table: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    found = table.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise _fault(path, f"{key} is not made of parts", f"write [{key}.NAME], and what belongs to it below")
    return found


def _only(path: Path, where: str, table: Mapping[str, Any], known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), 1)
            why = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise _fault(path, f"{f'{where}.' if where else ''}{key} is not known", why)


def _text(path: Path, key: str, value: Any, example: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _fault(path, f"{key} is {value!r}", f'write a word in quotes: "{example}"')
    return value


def _size(path: Path, key: str, value: Any) -> int:
    try:
        found = parse_size(value) if isinstance(value, str) else 0
    except ValueError:
        found = 0
    if not 0 < found <= PLANNED_BYTES_MAX:
        raise _fault(path, f"{key} is {value!r}", 'write a size in quotes: "4T", "500G"')
    return found


def _share(path: Path, key: str, value: Any) -> float:
    return _number(path, key, value, 0, 1)


def _number(path: Path, key: str, value: Any, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most:  # also refuses nan
        raise _fault(path, f"{key} is {value!r}", f"write a number from {least:g} to {most:g}")
    return float(value)


def _fault(path: Path, what: str, why: str) -> Failure:
    return Failure(Fault("household-file", f"{path} cannot be used: {what}", why, (_GUIDE,), exits.USAGE))
