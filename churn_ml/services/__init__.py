"""Processes that this project starts and stops, and the only in-process dbt call."""
