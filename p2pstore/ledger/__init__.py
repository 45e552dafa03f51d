"""The ledger: a peer's metadata on its own disk, in SQLite. One writer with group commit; every call in a worker job.

May import: ground, seams, values. Read first: `ledger.py` (the face), `store.py` (what a transaction does),
`tree_index.py` (how the tree is kept), `schema.py` (the tables); docs/formats/ledger.md.
"""
