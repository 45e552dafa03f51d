"""The terminal face: a program of its own (Textual, asyncio) that talks to a daemon through `p2pstore.control` only.

`words` and `model` are pure: what is said, and what is known. `link` keeps the connection and feeds the model; `app`
puts `panes` (Files, Machines, Activity, Safety), `widgets` and `dialogs` together and paints at most four times a
second.
"""
