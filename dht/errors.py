"""What strangers can do wrong here. Nothing of it ever leaves the receive loop; callers see fewer answers instead."""

from __future__ import annotations


class DhtError(Exception):
    """The root of the errors that this package raises on purpose."""


class Misuse(DhtError):
    """The caller's fault, such as a record that is too large."""


class Malformed(DhtError):
    """Bytes from outside that do not parse, or a value out of its range."""


class Forged(DhtError):
    """A signature that does not verify."""
