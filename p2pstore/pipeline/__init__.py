"""File bytes become chunks, chunks become sealed chunks, sealed chunks become shards; reading is the same backwards.

Values only: no IO, clock or randomness. `stripe` says the sentence for one chunk and is what services call (one call,
one worker job); `chunking`, `padding`, `sealing`, `erasure` and `shard` are its verbs and know none of each other's
callers. `manifest` names the chunks of one content. Imports the ground only. Read `stripe` first.
"""
