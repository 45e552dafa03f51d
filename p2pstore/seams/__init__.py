"""Interfaces between the services and the world: clock, network, disk, workers, datagrams.

Each has a real twin in `p2pstore.edges` and a simulated twin in `simulations`; both pass one conformance suite
(`tests/conformance`). A seam has a few methods and no logic. May import: the ground (ids, errors, limits).
"""
