"""Whole households on one machine: the real Node in virtual time, with every fault there is, and a judge."""
