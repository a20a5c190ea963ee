"""Seeded businesses whose truth is known; every person in them is made up."""
