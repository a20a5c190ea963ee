"""Scoring a night: stream, predict, write."""
