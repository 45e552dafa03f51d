"""How values become bytes: msgpack in, typed values out, checked once at the door.

Everything signed, stored or sent is a msgpack *array* whose first element is a format version. Arrays, not maps: one
value has one encoding, so that a hash of it means something. `Fields` reads such an array and raises `Malformed`,
never anything else, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from p2pstore.errors import Malformed

Buffer = bytes | bytearray | memoryview


def pack(value: Any) -> bytes:
    """The one msgpack encoding of `value`: nested lists and tuples of int, bytes, str, bool, None (and, where no hash
    is taken, dict and float)."""
    return msgpack.packb(value, use_bin_type=True)  # type: ignore[no-any-return]


def unpack(data: Buffer, *, bytes_max: int) -> Any:
    """The value in `data`.

    Raises:
        Malformed: longer than `bytes_max`, not msgpack, or bytes left over.
    """
    if len(data) > bytes_max:
        raise Malformed(f"{len(data)} bytes, at most {bytes_max}")
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=len(data),
            max_bin_len=len(data),
            max_array_len=len(data),
            max_map_len=len(data),
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise Malformed(f"not msgpack: {type(error).__name__}") from None


class Fields:
    """Reads the elements of a decoded array one after the other; each call names the type it wants.

    ```python
    fields = Fields(unpack(data, bytes_max=4096), "stripe statement", version=1)
    encoding = encoding_id(fields.raw(32))
    needed = fields.integer(1, 223)
    fields.end()
    ```
    """

    __slots__ = ("_next", "_values", "_what")

    def __init__(self, value: Any, what: str, *, version: int | None = None) -> None:
        if not isinstance(value, list | tuple):
            raise Malformed(f"{what}: not an array")
        self._values: Sequence[Any] = value
        self._what = what
        self._next = 0
        if version is not None and (found := self.integer(0, 2**16)) != version:
            raise Malformed(f"{what}: format version {found}, this build reads {version}")

    def _take(self) -> Any:
        if self._next >= len(self._values):
            raise Malformed(f"{self._what}: too short")
        value = self._values[self._next]
        self._next += 1
        return value

    def integer(self, least: int, most: int) -> int:
        """An integer from `least` to `most`, both allowed; a bool is not one."""
        value = self._take()
        if type(value) is not int or not least <= value <= most:
            raise Malformed(f"{self._what}: wanted an integer from {least} to {most}")
        return value

    def number(self, least: float, most: float) -> float:
        """An integer or float from `least` to `most`; NaN is neither."""
        value = self._take()
        if type(value) not in (int, float) or not least <= value <= most:
            raise Malformed(f"{self._what}: wanted a number from {least} to {most}")
        return float(value)

    def raw(self, exactly: int | None = None, *, most: int | None = None) -> bytes:
        """Bytes, of exactly so many or at most so many."""
        value = self._take()
        if type(value) is not bytes:
            raise Malformed(f"{self._what}: wanted bytes")
        if exactly is not None and len(value) != exactly:
            raise Malformed(f"{self._what}: wanted {exactly} bytes, found {len(value)}")
        if most is not None and len(value) > most:
            raise Malformed(f"{self._what}: wanted at most {most} bytes, found {len(value)}")
        return value

    def text(self, *, most: int) -> str:
        """Text of at most `most` characters."""
        value = self._take()
        if type(value) is not str or len(value) > most:
            raise Malformed(f"{self._what}: wanted text of at most {most} characters")
        return value

    def truth(self) -> bool:
        """True or False, not 0 or 1."""
        value = self._take()
        if type(value) is not bool:
            raise Malformed(f"{self._what}: wanted a truth value")
        return value

    def array(self, *, most: int) -> list[Any]:
        """An array of at most `most` elements, unread."""
        value = self._take()
        if not isinstance(value, list | tuple) or len(value) > most:
            raise Malformed(f"{self._what}: wanted an array of at most {most}")
        return list(value)

    def mapping(self) -> dict[str, Any]:
        """A map with text keys; its values are unread."""
        value = self._take()
        if not isinstance(value, dict) or not all(type(key) is str for key in value):
            raise Malformed(f"{self._what}: wanted a map with text keys")
        return value

    def optional_raw(self, exactly: int) -> bytes | None:
        """Bytes of exactly so many, or None."""
        if self._next < len(self._values) and self._values[self._next] is None:
            self._next += 1
            return None
        return self.raw(exactly)

    def anything(self) -> Any:
        """The next element unread, for a nested value that has a reader of its own."""
        return self._take()

    @property
    def left(self) -> int:
        """How many elements have not been read."""
        return len(self._values) - self._next

    def end(self) -> None:
        """Raises Malformed if anything is left: what nobody reads, nobody has checked."""
        if self.left:
            raise Malformed(f"{self._what}: {self.left} elements too many")
