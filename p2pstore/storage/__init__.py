"""Shards on this disk: append-only packs with one sync per group commit, and an index that can be rebuilt from them.

Read `store` first (the service that the rest of the daemon sees), then `shelf` (the same without tasks: what runs in
worker jobs), `records` (the bytes: docs/formats/pack.md), `recovery` (what opening does after a crash).
May import: the ground and the seams.
"""
