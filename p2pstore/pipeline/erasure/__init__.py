"""Reed-Solomon over GF(2^8), one mother code per k, byte for byte what `reedsolo` computes.

`matrix` says which products to take, `kernels` takes them fast, `code` speaks of shards, `salvage` finds which shard
lies. Knows nothing of sealing or headers. Read `code` first.
"""
