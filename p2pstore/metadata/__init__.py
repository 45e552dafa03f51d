"""Metadata as values: versions, operations, commits, vectors, the tree as a view, the roster.

Nothing here waits, reads a clock or rolls dice. May import: ground, seams' types, `pipeline` values. Read first:
`version.py` (what a file is), `operations.py` (how it travels), `commits.py` (who signed it), `tree.py` (what is
shown).
"""
