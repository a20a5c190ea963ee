"""The driver's composable statements, re-exported so that no other room imports the driver."""

from psycopg.sql import SQL, Composed, Identifier, Literal

__all__ = ["SQL", "Composed", "Identifier", "Literal"]
