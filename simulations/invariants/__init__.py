"""One file for each invariant of DESIGN 14 that can be checked now: all the time where that is sensible, else last.

A checker compares what machines do or say with what the oracle (`simulations.oracle`) knows. It reports a violation and
never raises: one seed may show several.
"""
