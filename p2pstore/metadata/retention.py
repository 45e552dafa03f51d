"""How long history is kept: rules that people set on folders, as operations like any other.

A rule holds for its folder and everything below it that has no rule of its own. Of rules that were set at the same time
in two places the one that keeps more counts: it can be shortened later, what was dropped cannot be brought back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.errors import Malformed
from p2pstore.ids import EntryId, entry_id
from p2pstore.limits import HISTORY_DAYS, HISTORY_DAYS_MAX
from p2pstore.packing import Fields

FOR_EVER: Final = 0
"""As a number of days: never dropped."""

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Retention:
    """A rule for what is in one folder, or for one file.

    Attributes:
        entry: what it is on; through renames.
        days: superseded and removed versions are kept so long; FOR_EVER; None takes the rule away (the operation
            supersedes those that made it).
        quota_bytes: of the root only: history beyond so many bytes goes earlier, the oldest first, never before
            HISTORY_FLOOR_DAYS; None for no quota.
    """

    entry: EntryId
    days: int | None
    quota_bytes: int | None


DEFAULT: Final = Retention(EntryId(bytes(16)), HISTORY_DAYS, None)
"""Where nobody said anything."""


def retention_fields(rule: Retention) -> list[Any]:
    """`rule` as a msgpack array (docs/formats/commit.md)."""
    return [rule.entry, rule.days, rule.quota_bytes]


def retention_from_fields(fields: Fields) -> Retention:
    """Reads what `retention_fields` wrote. Raises Malformed."""
    entry, days, quota = entry_id(fields.raw(16)), fields.anything(), fields.anything()
    if days is not None and (type(days) is not int or not 0 <= days <= HISTORY_DAYS_MAX):
        raise Malformed("retention: days")
    if quota is not None and (type(quota) is not int or not 0 <= quota < 2**63 or days is None):
        raise Malformed("retention: quota")
    return Retention(entry, days, quota)


def longest(rules: Iterable[Retention]) -> Retention:
    """Of rules for one entry that were set at the same time: the one that keeps most, in every respect."""
    found = list(rules)
    days = [rule.days for rule in found if rule.days is not None]
    quotas = [rule.quota_bytes for rule in found]
    return Retention(
        found[0].entry,
        FOR_EVER if FOR_EVER in days else max(days),
        None if None in quotas else max(quota for quota in quotas if quota is not None),
    )


def is_over(days: int, ended_ms: int, now_ms: int) -> bool:
    """Whether what ended at `ended_ms` need not be kept any longer."""
    return days != FOR_EVER and now_ms - ended_ms > days * DAY_MS
