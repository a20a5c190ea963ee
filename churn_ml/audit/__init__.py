"""Proofs of the point-in-time rule, in a throw-away database on a sample of customers."""
