"""COPY streams: bytes into a table, rows of a query out, both in constant memory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from typing import Protocol

from psycopg import sql

from churn_ml.measurement import COPIED
from churn_ml.warehouse.connection import Connection


class ByteSink(Protocol):
    """Takes the bytes of a COPY."""

    def write(self, data: bytes, /) -> object:
        """Send `data`."""


def copy_in(connection: Connection, statement: sql.Composed, blocks: Iterable[bytes]) -> int:
    """Run ``copy ... from stdin`` with `blocks` as its data and return the number of rows."""
    with connection.cursor() as cursor:
        with cursor.copy(statement) as stream:
            for block in blocks:
                stream.write(block)
                COPIED.add(written=len(block))
        return cursor.rowcount


@contextmanager
def open_copy_in(connection: Connection, statement: sql.Composed) -> Iterator[ByteSink]:
    """Open ``copy ... from stdin`` for writing; leaving the block ends the COPY."""
    with connection.cursor() as cursor, cursor.copy(statement) as stream:
        yield _CountedSink(stream)


class _CountedSink:
    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink

    def write(self, data: bytes, /) -> object:
        COPIED.add(written=len(data))
        return self._sink.write(data)


def copy_out(connection: Connection, query: sql.Composed, sink: ByteSink) -> int:
    """Write ``copy (query) to stdout`` to `sink` as CSV with a header line; return the number of rows."""
    statement = sql.SQL("copy ({}) to stdout (format csv, header true)").format(query)
    with connection.cursor() as cursor:
        with cursor.copy(statement, ()) as stream:
            for block in stream:
                sink.write(bytes(block))
                COPIED.add(read=len(block))
        return cursor.rowcount


@contextmanager
def open_copy_out(
    connection: Connection, query: sql.Composed, parameters: Sequence[object] = ()
) -> Iterator["CopyReader"]:
    """Open ``copy (query) to stdout`` as a readable file of CSV with a header line."""
    statement = sql.SQL("copy ({}) to stdout (format csv, header true)").format(query)
    with connection.cursor() as cursor, cursor.copy(statement, parameters) as stream:
        yield CopyReader(iter(stream))


class CopyReader(RawIOBase):
    """The bytes of a COPY as a file that holds one block at a time."""

    def __init__(self, blocks: Iterator[bytes | bytearray | memoryview]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True: this stream is only read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer` from the current block; 0 means that the COPY has ended."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(bytes(block))
            COPIED.add(read=len(self._rest))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
