"""Says what a household would be good for: one map for --json, and lines for people made of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from p2pstore.cli import text
from p2pstore.placement.prospect import NEW_SITE, Household, Prospect
from p2pstore.placement.risk import LEAST_SHOWN, Risk, two_digits


def result_of(household: Household, found: Prospect) -> dict[str, Any]:
    """All of it, for programs."""
    names = [each.name for each in household.machines]
    shards = Counter(int.from_bytes(peer, "big") - 1 for peer in found.plan.holders)
    return {
        "promise": household.promise.value,
        "failures": household.promise.failures,
        "kept": found.kept,
        "missing": [
            {"part": each.part, "because": each.because, "wanted": each.wanted} for each in found.missing
        ],
        "usable_bytes": found.usable_bytes,
        "given_bytes": sum(each.given_bytes for each in household.machines),
        "data_bytes": found.data_bytes,
        "fits": found.fits,
        "stored_bytes": found.stored_bytes,
        "needed": found.plan.needed,
        "total": found.plan.total,
        "holders": [
            {"name": names[number], "site": household.machines[number].site, "shards": count}
            for number, count in sorted(shards.items())
        ],
        "survives_machines": found.survives,
        "survives_house": found.house,
        "reads": round(found.reads, 4),
        "readable_bytes": found.readable_bytes,
        "repair": {
            "losses_bytes": found.rebuilt_bytes,
            "absences_bytes": found.absence_bytes,
            "sent_bytes": found.sent_bytes,
        },
        "yearly_loss": _risk(found.risk),
        "more": [
            {
                "what": each.what,
                "where": each.where,
                "bytes": each.bytes,
                "promise": each.promise.value,
                "kept": each.kept,
                "usable_bytes": each.usable_bytes,
                "survives_machines": each.survives,
                "survives_house": each.house,
                "yearly_loss": _risk(each.risk),
            }
            for each in found.changes
        ],
        "assumptions": {
            "machines": [
                {
                    "name": each.name,
                    "steadiness": each.steadiness,
                    "awake": each.awake,
                    "lost_yearly": each.lost_yearly,
                    "absences_yearly": each.absences_yearly,
                }
                for each in household.machines
            ],
            "sites": [
                {"name": name, "lost_yearly": yearly} for name, yearly in sorted(household.site_lost_yearly.items())
            ],
            "replaced_days": household.replaced_days,
            "rebuild_mbit": household.rebuild_bytes_per_s * 8 / 1e6,
            "not_counted": list(NOT_COUNTED),
        },
    }


NOT_COUNTED = (
    "mistakes, deletions, ransomware and bugs",
    "a lost paper key after all machines are lost",
    "bits that rot between two monthly scrubs",
    "disasters that take two sites together",
)
"""What no rate here stands for, and what is likelier than a millionth."""


def _risk(risk: Risk) -> dict[str, Any]:
    shown = two_digits(max(risk.probability, LEAST_SHOWN))
    return {
        "probability": shown,
        "nines": round(-math.log10(shown), 1) + 0.0,
        "capped": risk.probability < LEAST_SHOWN,
        "causes": [{"cause": cause, "share": two_digits(share)} for cause, share in risk.causes],
    }


def lines_of(result: Mapping[str, Any], *, plain: bool) -> list[str]:
    """The same for people; with `plain`, one fact on each line."""
    return _plain_lines(result) if plain else [*_lines(result), *_more_lines(result), *_assumption_lines(result)]


def _plain_lines(result: Mapping[str, Any]) -> list[str]:
    keys = ("promise", "kept", "usable_bytes", "given_bytes", "data_bytes", "fits", "stored_bytes", "needed", "total",
            "survives_machines", "survives_house", "reads", "readable_bytes")  # fmt: skip
    lines = [f"{key}: {result[key]}" for key in keys]
    lines += [f"holder: {one['shards']} {one['site']} {one['name']}" for one in result["holders"]]
    lines += [f"missing: {one['part']}: {one['wanted']}" for one in result["missing"]]
    lines += [f"repair_{key}: {value}" for key, value in result["repair"].items()]
    lines.append(f"yearly_loss: {result['yearly_loss']['probability']}")
    lines += [f"cause: {one['share']} {one['cause']}" for one in result["yearly_loss"]["causes"]]
    for one in result["more"]:
        lines.append(
            f"more: {one['what']} {one['promise']} {one['bytes']} {one['usable_bytes']} {one['survives_machines']}"
            f" {one['survives_house']} {one['yearly_loss']['probability']}"
        )
    return lines


def _lines(result: Mapping[str, Any]) -> list[str]:
    count = text.count(len(result["assumptions"]["machines"]), "machine")
    lines = [f"{count}, promise {result['promise']}: survives the loss of {result['failures']}"]
    lines += [
        f"  not possible: {one['part']}, because {one['because']}; it takes {one['wanted']}"
        for one in result["missing"]
    ]
    lines.append(f"  room      {text.size(result['usable_bytes'])} of files in {text.size(result['given_bytes'])}")
    if not result["kept"]:
        lines.append("  what follows is for what is stored as safely as these machines can")
    elif not result["fits"]:
        lines.append("  that is less than what was to be stored; what follows is for what fits")
    lines.append(
        f"  stored    {text.size(result['data_bytes'])} of files take {text.size(result['stored_bytes'])};"
        f" any {result['needed']} of {text.count(result['total'], 'shard')} rebuild a piece"
    )
    held = ", ".join(f"{one['name']} {one['shards']}" for one in result["holders"])
    lines.append(f"  shards    {held}")
    lines.append(f"  survives  {_survives(result)}")
    lines.append(
        f"  readable  {text.size(result['readable_bytes'])} at 99 % of the time or more;"
        f" what lies worst, {100 * result['reads']:.1f} %"
    )
    repair = result["repair"]
    lines.append(
        f"  repair    {text.size(repair['losses_bytes'])} a year for what is lost,"
        f" {text.size(repair['absences_bytes'])} for long absences; sends {text.size(repair['sent_bytes'])} at most"
    )
    lines.append(f"  loss      {_chance(result['yearly_loss'])} that anything is lost within a year")
    lines += [
        f"            {100 * one['share']:.0f} %: {one['cause']}"
        for one in result["yearly_loss"]["causes"][:_CAUSES_SHOWN]
        if one["share"] >= _SHARE_SHOWN
    ]
    return lines


_CAUSES_SHOWN = 3
_SHARE_SHOWN = 0.01
"""Further and smaller causes are in --json only."""


def _survives(one: Mapping[str, Any]) -> str:
    count = one["survives_machines"]
    machines = "no machine's loss" if count < 1 else "any one machine" if count == 1 else f"any {count} machines"
    return f"{machines}; {'any house' if one['survives_house'] else 'not every house'}"


def _chance(loss: Mapping[str, Any]) -> str:
    share = loss["probability"]
    if loss["capped"]:
        return "less than one in a million"
    return f"{100 * share:.2g} % (one in {float(f'{1 / share:.1e}'):,.0f})"


def _more_lines(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for one in result["more"]:
        what = f"a disk of {text.size(one['bytes'])} in {one['where']}"
        if one["what"] == "site" or one["where"] == NEW_SITE:
            what = f"a machine of {text.size(one['bytes'])}, always on, at {one['where']}"
        if one["what"] == "promise":
            what = f"the promise {one['promise']}" + (f" and {what}" if one["where"] else "")
        lines.append(f"with {what}")
        if not one["kept"]:
            lines.append("  the promise cannot be kept then either")
        lines.append(f"  room {text.size(one['usable_bytes'])}; survives {_survives(one)}")
        lines.append(f"  loss {_chance(one['yearly_loss'])}")
    return lines


def _assumption_lines(result: Mapping[str, Any]) -> list[str]:
    taken = result["assumptions"]
    rows = [["  machine", "on", "lost a year", "long absences"]]
    rows += [
        [f"  {one['name']}", f"{100 * one['awake']:.3g} %", f"{100 * one['lost_yearly']:.2g} %",
         f"{one['absences_yearly']:g} a year"]
        for one in taken["machines"]
    ]  # fmt: skip
    lines = ["estimated from", *text.table(rows)]
    sites = ", ".join(f"{one['name']} {100 * one['lost_yearly']:.2g} %" for one in taken["sites"])
    lines.append(f"  a whole site lost within a year: {sites}")
    lines.append(
        f"  a lost machine is replaced within {taken['replaced_days']:g} days where the others cannot make up for it;"
    )
    lines.append(f"  what was lost is made anew at {taken['rebuild_mbit']:g} Mbit/s; losses strike independently")
    lines.append(f"  not counted: {'; '.join(taken['not_counted'])}")
    return lines
