"""A run as data: who takes part, what they do, what befalls them. Printed, stored, replayed and shrunk.

```
load and faults > everything is healed > quiet, as long as it takes, but bounded > final checks
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from p2pstore.errors import Malformed
from simulations.machine import Fitting

PLAN_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that befalls the household; `simulations.faults` says what each kind does.

    Attributes:
        at_s: when.
        kind: which.
        machine: whom, from 0; -1 for nobody in particular.
        other: a second machine, for a cut.
        lasts_s: until it is over; 0 for what has no length.
        amount: how much, in a unit of the kind's.
        what: a part of the machine.
    """

    at_s: float
    kind: str
    machine: int = -1
    other: int = -1
    lasts_s: float = 0.0
    amount: float = 0.0
    what: str = ""

    def __str__(self) -> str:
        parts = [f"{self.at_s:9.1f} s  {self.kind}"]
        if self.machine >= 0:
            parts.append(f"machine {self.machine}")
        if self.other >= 0:
            parts.append(f"to {self.other}")
        if self.what:
            parts.append(self.what)
        if self.amount:
            parts.append(f"x {self.amount:g}")
        if self.lasts_s:
            parts.append(f"for {self.lasts_s:.0f} s")
        return "  ".join(parts)


@dataclass(frozen=True, slots=True)
class Work:
    """What the people do.

    Attributes:
        think_s: between two things that one person does, on average.
        names: files that the household has names for; few names, many conflicts.
        bytes_max: the largest of the usual files.
        large: one file in so many is larger than a chunk is at least; 0 for none.
        large_bytes: how large.
    """

    think_s: float = 40.0
    names: int = 24
    bytes_max: int = 64 * 1024
    large: int = 0
    large_bytes: int = 1_500_000


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. With the program's version it decides every event.

    Attributes:
        name: of the scenario.
        seed: of everything that is chance.
        machines: who takes part.
        work: what people do.
        load_s: how long they do it, while faults happen.
        quiet_s: how long the household may take afterwards until all are equal.
        faults: in order of time.
        core: for a liveness run the machines that must go on while the others stay broken; () for a safety run.
        damage_max: machines that may lose data for good; what goes beyond is refused. -1: as many as the promise
            names; more than that and only invariants that hold whatever is lost are checked.
        pace: how many times slower than usual upkeep is done; 1 for as it is (`simulations.pace`).
    """

    name: str
    seed: int
    machines: tuple[Fitting, ...]
    work: Work = Work()
    load_s: float = 1200.0
    quiet_s: float = 900.0
    faults: tuple[Fault, ...] = ()
    core: tuple[int, ...] = ()
    damage_max: int = -1
    pace: float = 1.0

    def encode(self) -> str:
        """JSON, one fault a line."""
        body = asdict(self)
        body["faults"] = [_without_defaults(fault) for fault in self.faults]
        return json.dumps({"version": PLAN_VERSION, **body}, indent=1)

    @staticmethod
    def decode(text: str) -> Plan:
        """The way back. Raises Malformed."""
        try:
            body: dict[str, Any] = json.loads(text)
            if body.pop("version") != PLAN_VERSION:
                raise Malformed("plan: another version")
            body["machines"] = tuple(Fitting(**each) for each in body["machines"])
            body["work"] = Work(**body["work"])
            body["faults"] = tuple(Fault(**each) for each in body["faults"])
            body["core"] = tuple(body["core"])
            return Plan(**body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(f"plan: {error}") from None


def _without_defaults(fault: Fault) -> Mapping[str, Any]:
    defaults = {each.name: each.default for each in fields(Fault)}
    return {name: value for name, value in asdict(fault).items() if value != defaults[name]}
