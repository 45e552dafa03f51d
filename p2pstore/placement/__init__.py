"""Where shards go and what that survives: promises, the planner, ranking of candidates. Pure values.

Read `promise.py` (what must be survived), then `planner.py` (how many shards each machine may hold), then `ranking.py`
(which machines). May import: the ground.
"""
