"""Split a CSV into records one physical line at a time, well formed or not (RFC 4180)."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from churn_ml.errors import LandingError
from churn_ml.landing.scan import LONGEST_RECORD

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes without a line feed beyond which a file is no table of lines and is refused whole."""

Reason = Literal["wrong_field_count", "bad_quoting", "invalid_utf8", "nul_byte", "record_too_long"]
_CODECS = {"UTF8": "utf-8", "LATIN1": "latin-1", "WIN1252": "cp1252"}
_LINE_ENDS = (b"", b"\n", b"\r\n", b"\r")
_QUOTED_PART = re.compile(rb'[^"]*+(?:""[^"]*+)*+("?)')


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a record cannot be a row."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record with its bytes as delivered, line end included.

    `is_blank` marks an empty line of a file with several columns: it is no row.
    """

    raw: bytes
    line_number: int
    line_count: int
    flaw: Flaw | None = None
    is_blank: bool = False

    @property
    def content(self) -> bytes:
        """The bytes without the line end."""
        return _without_line_end(self.raw)


def split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield physical lines, each with its line feed.

    Raises
    ------
    LandingError
        If a line is longer than `LONGEST_LINE`: no bounded memory would hold it.
    """
    pieces: list[bytes] = []
    length = 0
    for block in blocks:
        for line in block.splitlines(keepends=True) if b"\r" not in block else _split_at_line_feeds(block):
            pieces.append(line)
            length += len(line)
            if line.endswith(b"\n"):
                yield b"".join(pieces) if len(pieces) > 1 else line
                pieces, length = [], 0
        if length > LONGEST_LINE:
            raise LandingError(
                f"Expected lines of at most {LONGEST_LINE:,} bytes, found a longer one. "
                "Check that the file is a CSV whose lines end in LF or CRLF."
            )
    if pieces:
        yield b"".join(pieces)


def _without_line_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _split_at_line_feeds(block: bytes) -> list[bytes]:
    *lines, last = block.split(b"\n")
    return [*(line + b"\n" for line in lines), *([last] if last else [])]


def _whole_line(plain: bytes, delimiter: bytes, field_count: int | None) -> re.Pattern[bytes] | None:
    """Return a pattern of one line that is one well-formed record: far quicker than field by field."""
    if field_count is None:
        return None
    field = rb'(?:"[^"]*+(?:""[^"]*+)*+"|' + plain + rb")"
    return re.compile(field + rb"(?:%b%b){%d}\r?\n?\Z" % (delimiter, field, field_count - 1))


class RecordSplitter:
    """Assembles physical lines into records and says what is wrong with each.

    Parameters
    ----------
    delimiter
        One ASCII character.
    encoding
        Name of the declared encoding, as Postgres spells it.
    field_count
        Fields of a well-formed record; None accepts any number.
    first_line_number
        Number of the first line that will be fed.
    """

    def __init__(
        self, delimiter: str, encoding: str, field_count: int | None, *, first_line_number: int = 1
    ) -> None:
        self._delimiter = delimiter.encode()
        self._codec = _CODECS[encoding]
        self._encoding = encoding
        self._field_count = field_count
        self._line_number = first_line_number
        plain = rb'[^"\r\n' + re.escape(self._delimiter) + rb"]*+"
        self._plain_part = re.compile(plain)
        self._whole_line = _whole_line(plain, re.escape(self._delimiter), field_count)

    def split(self, lines: Iterable[bytes]) -> Iterator[Record]:
        """Yield the records of `lines`; their bytes, joined, are the lines again."""
        source = iter(lines)
        pushed_back: deque[bytes] = deque()
        while True:
            line = pushed_back.popleft() if pushed_back else next(source, None)
            if line is None:
                return
            if b'"' not in line:
                record = self._judge_plain(line)
            elif self._whole_line is not None and self._whole_line.match(line):
                record = Record(line, self._line_number, 1, self._byte_flaw(line))
            else:
                record = self._assemble(line, source, pushed_back)
            self._line_number += record.line_count
            yield record

    def _judge_plain(self, line: bytes) -> Record:
        if self._field_count != 1 and line in _LINE_ENDS:
            return Record(line, self._line_number, 1, is_blank=True)
        flaw = self._byte_flaw(line)
        if flaw is None and b"\r" in _without_line_end(line):
            flaw = Flaw("bad_quoting", "a carriage return outside quotes that ends no line")
        return Record(line, self._line_number, 1, flaw or self._count_flaw(line.count(self._delimiter) + 1))

    def _assemble(self, first: bytes, source: Iterator[bytes], pushed_back: deque[bytes]) -> Record:
        """Join lines until the quotes close; if they never do, the record is its first line only."""
        lines, length, fields = [first], len(first), 0
        read, is_quoted, problem = self._read_fields(first, is_quoted=False)
        fields += read
        while is_quoted and length <= LONGEST_RECORD:
            line = pushed_back.popleft() if pushed_back else next(source, None)
            if line is None:
                break
            lines.append(line)
            length += len(line)
            read, is_quoted, problem = self._read_fields(line, is_quoted=True)
            fields += read
        if is_quoted:
            problem = "an opening quote that is not closed by the end of the file or within 16 MiB"
        if problem is not None:
            pushed_back.extendleft(reversed(lines[1:]))
            flaw = self._byte_flaw(first) or Flaw("bad_quoting", problem)
            return Record(first, self._line_number, 1, flaw)
        raw = b"".join(lines)
        return Record(raw, self._line_number, len(lines), self._byte_flaw(raw) or self._count_flaw(fields))

    def _read_fields(self, line: bytes, *, is_quoted: bool) -> tuple[int, bool, str | None]:
        """Read one line; return the fields that ended, whether a quote is open, and the problem."""
        position, fields = 0, 0
        while True:
            if is_quoted or line.startswith(b'"', position):
                match = _QUOTED_PART.match(line, position if is_quoted else position + 1)
                assert match is not None  # noqa: S101 - the pattern matches the empty string
                if not match.group(1):
                    return fields, True, None
                is_quoted = False
                position = match.end()
                stray = "text after a closing quote"
            else:
                match = self._plain_part.match(line, position)
                assert match is not None  # noqa: S101 - the pattern matches the empty string
                position = match.end()
                stray = "a quote or carriage return inside an unquoted field"
            fields += 1
            if position >= len(line) - 2 and line[position:] in _LINE_ENDS:
                return fields, False, None
            if not line.startswith(self._delimiter, position):
                return fields, False, stray
            position += 1

    def _byte_flaw(self, raw: bytes) -> Flaw | None:
        if len(raw) > LONGEST_RECORD:
            return Flaw("record_too_long", f"{len(raw)} bytes; a record may have {LONGEST_RECORD}")
        if b"\0" in raw:
            return Flaw("nul_byte", f"a NUL byte at byte {raw.index(0) + 1} of the record")
        if raw.isascii():
            return None
        try:
            raw.decode(self._codec)
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            return Flaw(
                "invalid_utf8", f"byte 0x{byte:02x} at byte {error.start + 1} is not {self._encoding}"
            )
        return None

    def _count_flaw(self, field_count: int) -> Flaw | None:
        if self._field_count is None or field_count == self._field_count:
            return None
        return Flaw("wrong_field_count", f"{field_count} fields, the header has {self._field_count}")
