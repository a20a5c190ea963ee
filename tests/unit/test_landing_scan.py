"""The two readings of RFC 4180, the block scan and the record splitter, agree on any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_ml.landing.records import Record, RecordSplitter, split_lines
from churn_ml.landing.scan import RecordScan

PIECES = [b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"\xc3\xa9", b"\xff", b"\0", b" "]
SOUP = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)
BLOCK_SIZES = st.integers(min_value=1, max_value=7)


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def scan(blocks: list[bytes]) -> RecordScan:
    result = RecordScan(",")
    for block in blocks:
        result.feed(block)
    result.finish()
    return result


def split(content: bytes, field_count: int | None = None, size: int = 1000) -> list[Record]:
    return list(RecordSplitter(",", "UTF8", field_count).split(split_lines(cut(content, size))))


def without_lone_returns(content: bytes) -> bytes:
    """Lone carriage returns outside quotes are COPY's to notice, not the scan's."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"")


def is_badly_quoted(record: Record) -> bool:
    return record.flaw is not None and record.flaw.reason == "bad_quoting"


@given(SOUP, BLOCK_SIZES)
def test_scan_does_not_depend_on_block_boundaries(content: bytes, size: int) -> None:
    whole, pieces = scan([content]), scan(cut(content, size))
    assert (whole.suspicion is None) == (pieces.suspicion is None)
    if whole.suspicion is None:
        assert pieces.record_count == whole.record_count
        assert pieces.byte_count == len(content)


@given(SOUP)
def test_unsuspected_file_has_as_many_records_by_either_reading(content: bytes) -> None:
    content = without_lone_returns(content)
    result, records = scan([content]), split(content)
    if result.suspicion is None:
        assert result.record_count == len(records)


@given(SOUP)
def test_badly_quoted_record_never_escapes_the_scan(content: bytes) -> None:
    content = without_lone_returns(content)
    if any(is_badly_quoted(record) for record in split(content)):
        assert scan([content]).suspicion is not None


@given(SOUP, BLOCK_SIZES, st.sampled_from([None, 1, 2, 3]))
def test_records_keep_every_byte_and_every_line(content: bytes, size: int, field_count: int | None) -> None:
    records = split(content, field_count, size)
    assert b"".join(record.raw for record in records) == content
    numbers = [record.line_number for record in records]
    lines_before = [sum(record.line_count for record in records[:place]) + 1 for place in range(len(records))]
    assert numbers == lines_before


@given(SOUP)
def test_known_field_count_changes_no_record_boundary_of_quoted_lines(content: bytes) -> None:
    quick = {record.raw for record in split(content, 2) if record.flaw is None and not record.is_blank}
    assert quick <= {record.raw for record in split(content)}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_scan_counts_line_feeds_outside_quotes(size: int) -> None:
    result = scan(cut(b'a,b\n"c\nc",d\n"""",e\nf,g', size))
    assert (result.suspicion, result.record_count) == (None, 4)


@pytest.mark.parametrize("content", [b'a"b\n', b'"a"b\n', b'a,"b\n', b'5"" pipe\n', b'"a" \n', b'""a\n'])
def test_scan_suspects_quotes_that_copy_would_read_otherwise(content: bytes) -> None:
    for size in (1, 2, 100):
        assert scan(cut(content, size)).suspicion is not None


def test_scan_suspects_a_long_record_in_blocks_of_any_size() -> None:
    content = b"a\n" + b"l" * (16 * 1024 * 1024 + 1) + b"\nb\n"
    for size in (len(content), 1024 * 1024):
        assert scan(cut(content, size)).suspicion == "a record longer than 16 MiB"
    assert scan(cut(content.replace(b"ll", b"l", 2), 1024 * 1024)).suspicion is None
