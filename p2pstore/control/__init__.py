"""The local API: how the CLI and the TUI talk to the daemon on the same machine, over a unix socket.

Read `frames` (what is said) first, then `server` (trio, in the daemon), `blocking` (the CLI's client) and `aio` (the
TUI's). `paths` decides where the socket lies, `faults` makes errors into sentences for people. Client modules import
neither trio nor each other's event loop; the server is the only one that may import trio.
"""
