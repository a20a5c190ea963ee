"""The driver's statements, URLs and errors, re-exported so that no other room imports a driver."""

from psycopg import Error as PostgresError
from psycopg.sql import SQL, Composed, Identifier, Literal
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

__all__ = ["SQL", "URL", "Composed", "Identifier", "Literal", "PostgresError", "SQLAlchemyError"]
