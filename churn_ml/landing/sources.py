"""A delivered file as its header and a stream of CSV blocks, hashed as it is read."""

import errno
import gzip
import hashlib
import io
import stat
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from churn_ml.declarations import Entity
from churn_ml.errors import LandingError
from churn_ml.landing.headers import read_header
from churn_ml.landing.records import RecordSplitter, split_lines

BLOCK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_CODECS = {"UTF8": "utf-8", "LATIN1": "latin-1", "WIN1252": "cp1252"}
_FOREIGN_STARTS = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; save it as CSV",
    b"\x1f\x8b": "gzip; let its name end in .csv.gz",
    b"PAR1": "Parquet; let its name end in .parquet",
}


@dataclass(frozen=True)
class Fingerprint:
    """What tells one delivered file from another."""

    sha256: str
    byte_count: int


class FileStamp(NamedTuple):
    """What tells, without reading a file, that nothing was written to it."""

    byte_count: int
    modified_ns: int


class Source(Protocol):
    """A file or table that can be read as CSV blocks, more than once.

    Attributes
    ----------
    columns : list of str
        The file's columns in its order.
    delimiter, encoding : str
        Of the blocks.
    has_nulls : bool
        Whether an unquoted empty field is a null (Parquet) and not an empty text (CSV).
    header_bytes, header_lines : int
        What precedes the first record.
    declared_row_count : int or None
        The rows the file itself says it has.
    """

    columns: list[str]
    delimiter: str
    encoding: str
    has_nulls: bool
    header_bytes: int
    header_lines: int
    declared_row_count: int | None

    def blocks(self) -> Generator[bytes, None, None]:
        """Read the file from its first record on."""

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the file that `blocks` read to its end."""


class HashingFile(io.RawIOBase):
    """A file that hashes what is read of it."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._byte_count = 0

    def readable(self) -> bool:
        """Return True: this stream is only read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read into `buffer` and hash what was read."""
        count = self._file.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        self._byte_count += count
        return count

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of what was read so far."""
        return Fingerprint(self._digest.hexdigest(), self._byte_count)


def require_file(path: Path) -> FileStamp:
    """Return the stamp of the file at `path`.

    Raises
    ------
    LandingError
        If there is none, or it is a folder or anything else that is no regular file, or empty.
    """
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise LandingError(f"Expected a file at {path}, found none. Check the path.") from None
        raise LandingError(f"Expected a readable file at {path}, found: {error.strerror}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise LandingError(f"Expected a file at {path}, found a folder. Land the folder by `churn-ml land`.")
    if not stat.S_ISREG(status.st_mode):
        raise LandingError(f"Expected a regular file at {path}, found a device, socket or pipe.")
    if status.st_size == 0:
        raise LandingError(f"Expected a header and rows in {path}, found an empty file (0 bytes).")
    return FileStamp(status.st_size, status.st_mtime_ns)


def hash_file(path: Path) -> Fingerprint:
    """Hash the file at `path` in constant memory."""
    with open_hashed(path) as file:
        while file.read(BLOCK_BYTES):
            pass
        return file.fingerprint


@contextmanager
def open_hashed(path: Path) -> Iterator[HashingFile]:
    """Open `path` for reading; an unreadable file is a `LandingError`."""
    try:
        with path.open("rb", buffering=0) as file:
            yield HashingFile(file)
    except OSError as error:
        raise LandingError(
            f"Expected a readable file at {path}, found: {error.strerror or error}. "
            "Check its rights and that its disk answers."
        ) from None


class CsvSource:
    """A CSV file, also gzip; see `Source`."""

    has_nulls = False
    declared_row_count: int | None = None

    def __init__(self, path: Path, entity_name: str, entity: Entity) -> None:
        self._path = path
        self.delimiter = entity.delimiter
        self.encoding: str = entity.encoding
        self._is_gzip = path.suffix.casefold() == ".gz"
        header = self._read_header_record()
        bom = _BOM if header.startswith(_BOM) and self.encoding == "UTF8" else b""
        self.header_bytes = len(header)
        self.header_lines = header.count(b"\n")
        self.columns = read_header(self._decode(header[len(bom) :]), path.name, entity_name, entity)

    def blocks(self) -> Generator[bytes, None, None]:
        """Read the file from its first record on."""
        to_skip = self.header_bytes
        for block in self._all_blocks():
            if to_skip < len(block):
                yield block[to_skip:] if to_skip else block
            to_skip = max(0, to_skip - len(block))

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of what the last whole reading of `blocks` read."""
        return self._fingerprint

    def _all_blocks(self) -> Generator[bytes, None, None]:
        with open_hashed(self._path) as file:
            try:
                yield from self._decompressed(file) if self._is_gzip else _read_blocks(file)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise LandingError(
                    f"{self._path.name}: expected a whole gzip file, found: {error}. "
                    "Deliver the file again. Nothing of it was stored."
                ) from None
            self._fingerprint = file.fingerprint

    def _decompressed(self, file: HashingFile) -> Iterator[bytes]:
        with gzip.GzipFile(fileobj=io.BufferedReader(file, BLOCK_BYTES), mode="rb") as content:
            yield from _read_blocks(content)

    def _read_header_record(self) -> bytes:
        blocks = self._all_blocks()
        first = next(blocks, b"")
        self._refuse_foreign(first)
        bom = _BOM if first.startswith(_BOM) else b""
        splitter = RecordSplitter(self.delimiter, self.encoding, None)
        record = next(splitter.split(split_lines([first[len(bom) :]])), None)
        blocks.close()
        if record is None or not record.content.strip():
            raise LandingError(
                f"{self._path.name}: expected a header in its first line, found a blank line. "
                "Nothing of the file was stored."
            )
        if not record.raw.endswith(b"\n"):
            self._refuse_single_line(record.raw)
        if record.flaw is not None:
            raise LandingError(
                f"{self._path.name}: expected a header, found {record.flaw.detail} ({record.flaw.reason}). "
                "Nothing of the file was stored."
            )
        return bom + record.raw

    def _refuse_single_line(self, line: bytes) -> None:
        found = (
            "lone carriage returns; save the file with LF or CRLF" if b"\r" in line[:-1] else "a single line"
        )
        raise LandingError(
            f"{self._path.name}: expected a header and at least one row in lines that end in LF or CRLF, "
            f"found {found}. Nothing of the file was stored."
        )

    def _refuse_foreign(self, start: bytes) -> None:
        for magic, found in _FOREIGN_STARTS.items():
            if start.startswith(magic):
                raise LandingError(f"{self._path.name}: expected {self.encoding} CSV text, found {found}.")
        if start[:200].count(b"\0") > len(start[:200]) // 4:
            raise LandingError(
                f"{self._path.name}: expected {self.encoding} CSV text, found UTF-16 or binary content; "
                "save it as UTF-8."
            )
        if start.startswith(_BOM) and self.encoding != "UTF8":
            raise LandingError(
                f"{self._path.name}: expected {self.encoding} CSV text, found the byte-order mark of UTF-8. "
                "Declare encoding: UTF8, or save the file in the declared encoding."
            )

    def _decode(self, header: bytes) -> str:
        text = header.decode(_CODECS[self.encoding])
        return text.removesuffix("\n").removesuffix("\r")


def _read_blocks(file: io.RawIOBase | gzip.GzipFile) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
