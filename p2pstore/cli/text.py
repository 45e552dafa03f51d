"""Sizes, times and names, as people write and read them."""

from __future__ import annotations

import re
import time
from typing import Any, Final

from p2pstore.control import wording

age, count, printable, shown = wording.age, wording.count, wording.printable, wording.shown

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_DURATIONS: Final = {"": 1.0, "S": 1.0, "M": 60.0, "H": 3600.0, "D": 86400.0}


def parse_size(text: str) -> int:
    """Bytes in "20G", "500 MB", "1.5TiB" or "4096". K, M, G, T are powers of 1000, as on a disk's label; KiB, MiB,
    GiB, TiB powers of 1024. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(I?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 20G or 500M")
    number, unit, binary = match[1], match[2].upper(), bool(match[3])
    if binary and not unit:
        raise ValueError(f"{text!r} is not a size such as 20G or 500M")
    factor = 1024 ** list(_UNITS).index(unit) if binary else _UNITS[unit]
    return int(float(number) * factor) if "." in number else int(number) * factor


def words(text: str) -> str:
    """An argument as text that can be sent: what of it is no text becomes U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def parse_duration(text: str) -> float:
    """Seconds in "90", "90s", "10m", "2h" or "1d". Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([SMHD]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 2h")
    return float(match[1]) * _DURATIONS[match[2].upper()]


def parse_range(text: str) -> tuple[int, int | None]:
    """(offset, length) of "START-END" (both included, as in HTTP), "START-" (to the end, length None) or
    "OFFSET+LENGTH". Raises ValueError."""
    if match := re.fullmatch(r"(\d+)\+(\d+)", text):
        return int(match[1]), int(match[2])
    if match := re.fullmatch(r"(\d+)-(\d*)", text):
        start = int(match[1])
        if not match[2]:
            return start, None
        if int(match[2]) >= start:
            return start, int(match[2]) - start + 1
    raise ValueError(f"{text!r} is not a range such as 0-99, 100- or 4096+512")


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of "HOST:PORT" or "[V6]:PORT". Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not an address such as 192.168.1.20:7700")
    return host, int(port)


def size(count: int) -> str:
    """"812 B", "1.5 KB", "12 MB": two digits at least, powers of 1000."""
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if value < 999.5 or unit == "PB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def moment(time_ns: int) -> str:
    """A local time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_ns / 1e9))


def mode(kind: str, bits: int) -> str:
    """"drwxr-xr-x"."""
    letters = {"folder": "d", "link": "l"}.get(kind, "-")
    return letters + "".join(c if bits >> (8 - i) & 1 else "-" for i, c in enumerate("rwxrwxrwx"))


def table(rows: list[list[str]]) -> list[str]:
    """Rows as lines with aligned columns; no blanks at their ends."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def json_ready(value: Any) -> Any:
    """`value` with bytes as text. A map's bytes that are not UTF-8 become text with lone surrogates (as
    `os.fsdecode` has it), beside the exact bytes under KEY_hex."""
    if isinstance(value, dict):
        ready: dict[str, Any] = {}
        for key, inner in value.items():
            ready[key] = json_ready(inner)
            if isinstance(inner, bytes) and not _is_text(inner):
                ready[f"{key}_hex"] = inner.hex()
        return ready
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
