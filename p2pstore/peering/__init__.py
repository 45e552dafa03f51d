"""Drives `protocols.requests` and `protocols.links` on trio over links that somebody else makes.

`linked_network.LinkedNetwork` is all of a network but the links: the real network (`edges.transport_zmq`) and the
simulated one (`simulations.network`) differ below it only. May import: the ground, seams, protocols.
"""
