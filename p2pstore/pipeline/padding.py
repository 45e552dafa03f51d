"""Padmé: how long a padded text is, so that a length says little about what it pads."""

from __future__ import annotations

from p2pstore.limits import PADDED_BYTES_MIN


def padded_length(length: int) -> int:
    """The length that `length` bytes are padded to: at least PADDED_BYTES_MIN, at most 12 % more than `length`.

    The result keeps only the top bits of its number (as many as its exponent has digits), so O(log log) bits of the
    length leak. Padding a padded length changes nothing.

    Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019.
    """
    if length <= PADDED_BYTES_MIN:
        return PADDED_BYTES_MIN
    exponent = length.bit_length() - 1
    zero_bits = exponent - exponent.bit_length()
    mask = (1 << zero_bits) - 1
    return (length + mask) & ~mask
