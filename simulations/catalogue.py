"""Households by name: unequal machines in one to four places, for whoever asks how much fits and what a fire leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GB: Final = 10**9

ALWAYS, DESKTOP, LAPTOP = "always-on", "desktop", "laptop"


@dataclass(frozen=True, slots=True)
class Owned:
    """A machine of a household.

    Attributes:
        site: where it stands.
        steadiness: how much of the time it is on.
        gigabytes: that it gives.
    """

    site: str
    steadiness: str
    gigabytes: int


CATALOGUE: Final[dict[str, tuple[Owned, ...]]] = {
    "a lone disk": (Owned("home", ALWAYS, 1000),),
    "a NAS and a laptop": (Owned("home", ALWAYS, 2000), Owned("home", LAPTOP, 500)),
    "two PCs in two houses": (Owned("home", DESKTOP, 2000), Owned("cabin", DESKTOP, 1000)),
    "a NAS here, a Pi there": (Owned("home", ALWAYS, 4000), Owned("cabin", ALWAYS, 500)),
    "three alike": (Owned("home", ALWAYS, 1000),) * 3,
    "a couple": (Owned("home", ALWAYS, 4000), Owned("home", LAPTOP, 500), Owned("home", LAPTOP, 250)),
    "a lone PC at the cabin": (
        Owned("home", ALWAYS, 1000),
        Owned("home", ALWAYS, 800),
        Owned("home", DESKTOP, 600),
        Owned("cabin", ALWAYS, 1000),
    ),
    "two and two": (
        Owned("home", ALWAYS, 1000),
        Owned("home", ALWAYS, 1000),
        Owned("cabin", ALWAYS, 1000),
        Owned("cabin", ALWAYS, 1000),
    ),
    "students": (
        Owned("flat", LAPTOP, 500),
        Owned("flat", LAPTOP, 250),
        Owned("flat", LAPTOP, 1000),
        Owned("flat", LAPTOP, 500),
    ),
    "three houses": (
        Owned("home", ALWAYS, 8000),
        Owned("home", LAPTOP, 500),
        Owned("home", LAPTOP, 300),
        Owned("parents", ALWAYS, 4000),
        Owned("cabin", ALWAYS, 2000),
    ),
    "a family and the parents": (
        Owned("home", ALWAYS, 4000),
        Owned("home", DESKTOP, 1000),
        Owned("home", LAPTOP, 400),
        Owned("home", LAPTOP, 250),
        Owned("parents", ALWAYS, 1000),
        Owned("home", ALWAYS, 120),
    ),
    "four houses": (
        Owned("home", ALWAYS, 4000),
        Owned("parents", ALWAYS, 2000),
        Owned("sister", ALWAYS, 1000),
        Owned("cabin", ALWAYS, 500),
        *(Owned("home", LAPTOP, 300),) * 4,
    ),
    "ten disks": tuple(
        Owned(f"house {number % 4}", ALWAYS, size)
        for number, size in enumerate((250, 500, 1000, 2000, 4000, 4000, 1000, 500, 250, 2000))
    ),
    "a clan": (
        Owned("home", ALWAYS, 4000),
        Owned("home", ALWAYS, 2000),
        Owned("home", ALWAYS, 1000),
        Owned("cabin", ALWAYS, 2000),
        Owned("cabin", ALWAYS, 1000),
        Owned("office", ALWAYS, 500),
        Owned("home", DESKTOP, 700),
        Owned("home", DESKTOP, 300),
        Owned("cabin", DESKTOP, 250),
        Owned("home", LAPTOP, 500),
        Owned("cabin", LAPTOP, 300),
        Owned("office", LAPTOP, 200),
    ),
    "twelve alike": (Owned("home", ALWAYS, 1000),) * 12,
}
