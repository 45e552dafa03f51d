"""Machines: sans-IO cores that take events with `now` and return effects.

May import: the ground, the seams' value types, `p2pstore.metadata` and `p2pstore.placement`. No IO, no clock, no dice.
Read `wire.py` (what a message looks like) and `requests.py` (what becomes of one) first.
"""
