"""The command line: `p2pstore VERB`. Each verb asks the daemon through `p2pstore.control.blocking` and prints.

Read `main` (verbs, global flags, errors), `session` (what every verb is given), then any of `verbs/`. Nothing heavy is
imported at the top of a module here: `p2pstore --help` imports click and nothing else of weight.
"""
