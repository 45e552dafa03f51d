"""Keys: a machine's identity, the household secret on paper, key generations and the file that holds them.

Values only: no disk, no clock, and every random byte comes from an `rng` that the caller passes in. May import: the
ground. Read first: `identity.py`, then `household.py`, `generation.py`, `keyfile.py`. Formats: docs/formats/keys.md.
"""
