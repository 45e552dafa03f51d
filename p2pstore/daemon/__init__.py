"""The daemon: picks the real seams, builds a `Node`, runs trio, offers the local API.

Read `run.py` (the composition root), then `operations.py` (what a local client can ask for). `home.py` is the folder it
lives in, `setup.py` makes or joins a household. May import everything but the CLI and the TUI.
"""
