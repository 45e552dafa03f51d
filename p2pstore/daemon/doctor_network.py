"""What `doctor` finds out about clocks, firewalls and routers, from what other machines said and did. Pure but for two
files of this machine's firewall."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from p2pstore.daemon.doctor_check import check
from p2pstore.limits import CLOCK_SKEW_SHOWN_S

PORTS: Final = 4
"""TCP ports in a row that a machine uses (docs/decisions/0001)."""

YEAR_2023_S: Final = 1_700_000_000
"""A clock before this is that of a machine without a battery."""

SET_CLOCK: Final = "sudo timedatectl set-ntp true"


def check_clock(now_s: float, ahead_s: Mapping[str, float]) -> dict[str, Any]:
    """Whether this machine's clock agrees with the others'.

    Args:
        now_s: this machine's wall time.
        ahead_s: by machine's name, how far its clock is ahead of ours.
    """
    if now_s < YEAR_2023_S:
        return check("clock", "bad", "it is years behind; nothing is lost by that, but every date is wrong", SET_CLOCK)
    if not ahead_s:
        return check("clock", "ok", "plausible; no other machine answers that it could be compared with")
    apart_s = median(ahead_s.values())
    if abs(apart_s) > CLOCK_SKEW_SHOWN_S:
        what = f"it is {_apart(-apart_s)} the other machines'"
        return check("clock", "bad", what, SET_CLOCK)
    wrong = {name: apart for name, apart in sorted(ahead_s.items()) if abs(apart) > CLOCK_SKEW_SHOWN_S}
    if wrong:
        what = "; ".join(f"the one of {name} is {_apart(apart)} this one" for name, apart in wrong.items())
        return check("clock", "warn", what, f"on {', '.join(wrong)}: {SET_CLOCK}")
    return check("clock", "ok", f"within {max(map(abs, ahead_s.values())):.0f} s of those of others: {len(ahead_s)}")


def _apart(seconds: float) -> str:
    size = abs(seconds)
    for divisor, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if size >= 2 * divisor:
            return f"{size / divisor:.0f} {unit} {'ahead of' if seconds > 0 else 'behind'}"
    return f"{size:.0f} seconds {'ahead of' if seconds > 0 else 'behind'}"


def check_firewall(port: int, came_in: Sequence[str], answering: int, root: Path = Path("/")) -> dict[str, Any]:
    """Whether other machines can open connections to this one.

    Args:
        port: the first of its ports.
        came_in: machines that have opened one since the daemon started.
        answering: how many machines answer.
        root: where this machine's firewall keeps its files.
    """
    if came_in:
        return check("firewall", "ok", f"{', '.join(sorted(came_in)[:5])} opened connections to this machine")
    last = port + PORTS - 1
    if (allow := _allow(root, port, last)) is not None:
        what = "a firewall is on, and no machine has opened a connection to this one since the daemon started"
        return check("firewall", "warn", what, allow)
    if not answering:
        return check("firewall", "ok", f"none is known here; others need to reach TCP {port} to {last} and UDP {port}")
    return check("firewall", "ok", "none is known here; all connections so far were opened by this machine")


def _allow(root: Path, first: int, last: int) -> str | None:
    """What opens the ports in the firewall that is on, or None where none is known."""
    try:
        if "ENABLED=yes" in (root / "etc/ufw/ufw.conf").read_text("utf-8", "replace").split():
            return f"sudo ufw allow {first}:{last}/tcp; sudo ufw allow {first}/udp"
    except OSError:
        pass  # no ufw, or none that we may read
    if os.path.exists(root / "run/firewalld"):
        ports = f"--add-port={first}-{last}/tcp --add-port={first}/udp"
        return f"sudo firewall-cmd --permanent {ports} && sudo firewall-cmd --reload"
    return None


def check_router(own_hosts: Sequence[str], elsewhere_away: Sequence[str], port: int) -> dict[str, Any]:
    """Whether a router between two houses may be in the way.

    Args:
        own_hosts: addresses at which this machine says it can be reached.
        elsewhere_away: machines at other sites that have not been heard since the daemon started.
        port: the first of our ports.
    """
    private = [host for host in own_hosts if _is_private(host)]
    if not elsewhere_away or len(private) < len(own_hosts) or not own_hosts:
        return check("router", "ok", "no machine in another house waits for a way to this one")
    names = ", ".join(sorted(elsewhere_away)[:5])
    what = f"{names}: in another house and never heard; the addresses here ({', '.join(private[:3])}) end at the router"
    fix = f"a VPN between the houses, or forward TCP {port} to {port + PORTS - 1} and UDP {port} to this machine"
    return check("router", "warn", what, fix)


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False  # a name: somebody knows what it leads to
