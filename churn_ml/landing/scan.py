"""Count the records of a CSV by RFC 4180, independently of COPY, one block at a time."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

LONGEST_RECORD = 16 * 1024 * 1024
"""Bytes of a record beyond which it is quarantined as ``record_too_long``."""

_QUOTE = 0x22
_LINE_FEED = 0x0A
_CARRIAGE_RETURN = 0x0D

Positions = npt.NDArray[np.int64]


class RecordScan:
    """Counts records over consecutive blocks and notices what COPY would read differently.

    A record ends at a line feed outside quotes. COPY takes any quote, wherever it stands, as the
    start or end of quoting and drops it; here an opening quote must stand at the start of a field
    and a closing one at its end, so that ``5" pipe`` is noticed instead of landing altered.

    Attributes
    ----------
    record_count : int
        Records that have ended so far, the last one once `finish` was called.
    byte_count : int
        Bytes fed so far.
    suspicion : str or None
        Why the file needs the record splitter, if it does.
    """

    def __init__(self, delimiter: str) -> None:
        self.record_count = 0
        self.byte_count = 0
        self.suspicion: str | None = None
        self._delimiter = ord(delimiter)
        self._is_quoted = False
        self._last_byte = _LINE_FEED
        self._record_start = 0

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass `blocks` on, feeding each; stop at the first suspicion."""
        for block in blocks:
            self.feed(block)
            if self.suspicion is not None:
                return
            yield block
        self.finish()

    def feed(self, block: bytes) -> None:
        """Take the next block."""
        if not block:
            return
        content = np.frombuffer(block, dtype=np.uint8)
        line_ends = np.flatnonzero(content == _LINE_FEED)
        if b'"' in block or self._is_quoted:
            line_ends = self._feed_quotes(content, line_ends)
        elif self._last_byte == _QUOTE and not self._ends_field(block[0]):
            self.suspicion = "text after a closing quote"
        self._measure(line_ends, len(block))
        self._last_byte = block[-1]
        self.byte_count += len(block)
        self.record_count += len(line_ends)

    def finish(self) -> None:
        """Take the end of the file: it ends the last record where no line feed did."""
        if self._is_quoted:
            self.suspicion = self.suspicion or "an opening quote that is never closed"
        if self._record_start < self.byte_count:
            self.record_count += 1

    def _feed_quotes(self, content: npt.NDArray[np.uint8], line_ends: Positions) -> Positions:
        """Return the line ends outside quotes, after a look at what stands around each quote."""
        quotes = np.flatnonzero(content == _QUOTE)
        opening, closing = (quotes[1::2], quotes[::2]) if self._is_quoted else (quotes[::2], quotes[1::2])
        before = np.concatenate(([self._last_byte], content))[opening]
        if not self._all_in(before, _LINE_FEED):
            self.suspicion = "a quote inside an unquoted field"
        after = content[closing[closing < len(content) - 1] + 1]
        closed_before = not self._is_quoted and self._last_byte == _QUOTE
        if not self._all_in(after, _LINE_FEED, _CARRIAGE_RETURN) or (
            closed_before and not self._ends_field(int(content[0]))
        ):
            self.suspicion = "text after a closing quote"
        quotes_before = np.searchsorted(quotes, line_ends)
        outside: Positions = line_ends[(quotes_before + self._is_quoted) % 2 == 0]
        self._is_quoted = bool((len(quotes) + self._is_quoted) % 2)
        return outside

    def _all_in(self, values: npt.NDArray[np.integer], *allowed: int) -> bool:
        return bool(np.isin(values, [self._delimiter, _QUOTE, *allowed]).all())

    def _ends_field(self, byte: int) -> bool:
        return byte in (self._delimiter, _QUOTE, _LINE_FEED, _CARRIAGE_RETURN)

    def _measure(self, line_ends: Positions, length: int) -> None:
        """Notice a record longer than `LONGEST_RECORD`; shorter blocks hold none entirely."""
        first = int(line_ends[0]) if len(line_ends) else length
        longest = self.byte_count + first - self._record_start
        if len(line_ends) > 1 and length > LONGEST_RECORD:
            longest = max(longest, int(np.diff(line_ends).max()))
        if longest > LONGEST_RECORD:
            self.suspicion = "a record longer than 16 MiB"
        if len(line_ends):
            self._record_start = self.byte_count + int(line_ends[-1]) + 1
