"""The three gates: runs a named Great Expectations checkpoint; the only room that imports it."""
