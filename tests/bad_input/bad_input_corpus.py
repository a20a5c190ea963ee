"""Files as the world delivers them, each with what must become of it.

A case is clean (every record lands; Python's ``csv`` module says as what), torn (some records
are quarantined) or refused (one error, nothing stored).
"""

# ruff: noqa: E501 - a case stays on one line, to be read as a table

import codecs
import gzip
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DECLARATION = """
dataset: "telco"
title: "Parts, a dataset to break files with"
kind: "snapshot"
label_definition: "none"
value_definition: "mrr_horizon"
sensitive_features: []
candidates: {base_rate: {}}
search: {trials: 1, seconds: 60}
entities:
  parts: &parts
    files: ["parts*.csv", "parts*.csv.gz", "parts*.parquet"]
    delimiter: ","
    encoding: "UTF8"
    key: ["part_id"]
    columns: {"id": "part_id", "name": "part_name", "note": "part_note"}
  notes:
    files: ["notes*"]
    delimiter: ","
    encoding: "UTF8"
    key: ["note"]
    columns: {"note": "note"}
  latin:
    files: ["latin*"]
    delimiter: ";"
    encoding: "LATIN1"
    key: ["part_id"]
    columns: {"id": "part_id", "name": "part_name", "note": "part_note"}
  windows:
    files: ["windows*"]
    delimiter: ","
    encoding: "WIN1252"
    key: ["part_id"]
    columns: {"id": "part_id", "name": "part_name", "note": "part_note"}
"""

CODECS = {"parts": "utf-8", "notes": "utf-8", "latin": "latin-1", "windows": "cp1252"}
Rows = list[tuple[str | None, ...]]
Quarantined = tuple[str, int, int, bytes]


@dataclass(frozen=True)
class Case:
    """One file and its fate; `landed` None means: as the csv module reads it."""

    name: str
    content: bytes | Callable[[Path], None]
    landed: Rows | None = None
    quarantined: list[Quarantined] = field(default_factory=list)
    error: str | None = None
    entity: str = "parts"
    file_name: str = ""

    def write(self, folder: Path) -> Path:
        """Write the file into `folder`."""
        path = folder / (self.file_name or f"{self.entity}.csv")
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
        return path


def clean(name: str, content: bytes, entity: str = "parts", file_name: str = "") -> Case:
    return Case(name, content, entity=entity, file_name=file_name)


def torn(name: str, content: bytes, landed: Rows, *quarantined: Quarantined, entity: str = "parts") -> Case:
    return Case(name, content, landed, list(quarantined), entity=entity)


def refused(
    name: str, content: bytes | Callable[[Path], None], error: str, entity: str = "parts", file_name: str = ""
) -> Case:
    return Case(name, content, error=error, entity=entity, file_name=file_name)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _parts_table(**columns: object) -> pa.Table:
    return pa.table({"id": ["1", "2"], "name": ["a", "b"], "note": ["x", "y"]} | columns)


def _bad_text(values: list[bytes]) -> pa.Array:
    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(values), binary.buffers())


H = b"id,name,note\n"
ONE: Rows = [("1", "a", "x")]
ONE_AND_THREE: Rows = [("1", "a", "x"), ("3", "c", "z")]
LONG = b"l" * 5_000_000
TOO_LONG = b"2," + b"l" * (17 * 1024 * 1024) + b",y\n"
_GZIP = gzip.compress(H + b"1,a,x\n" * 50_000, mtime=0)

CLEAN = [
    clean("plain", H + b"1,a,x\n2,b,y\n"),
    clean("byte_order_mark", codecs.BOM_UTF8 + H + b"1,a,x\n"),
    clean("crlf", b"id,name,note\r\n1,a,x\r\n2,b,y\r\n"),
    clean("header_lf_rows_crlf", H + b"1,a,x\r\n2,b,y\r\n"),
    clean("mixed_line_ends", H + b"1,a,x\r\n2,b,y\n3,c,z\r\n"),
    clean("no_line_feed_at_the_end", H + b"1,a,x\n2,b,y"),
    clean("carriage_return_at_the_end", H + b"1,a,x\r\n2,b,y\r"),
    clean("empty_fields", H + b',,\n"","",""\n'),
    clean("spaces_are_kept", H + b" 1 , a b ,  \n"),
    clean("quoted_delimiter", H + b'1,"a,b",x\n'),
    clean("quoted_line_feed", H + b'1,"a\nb",x\n2,"\n\n","\r\n"\n'),
    clean("quoted_quotes", H + b'1,"say ""hi""",""""\n2,"""",""""""\n'),
    clean("quoted_carriage_return", H + b'1,"a\rb",x\n'),
    clean("every_field_quoted", b'"id","name","note"\n"1","a","x"\n'),
    clean("quoted_line_feed_in_crlf_file", b'id,name,note\r\n1,"a\r\nb\nc",x\r\n'),
    clean("reordered_columns", b"note,id,name\nx,1,a\ny,2,b\n"),
    clean("unicode", H + "1,Zoë ß 漢字 🎈,é\n".encode()),
    clean("one_long_field", H + b"1," + LONG + b",x\n2,b,y\n"),
    clean("long_quoted_field_of_many_lines", H + b'1,"' + b'line ""of"" text\n' * 100_000 + b'",x\n'),
    clean("null_words_are_text", H + b"NULL,\\N,NA\n"),
    clean("backslashes", H + b"1,\\,\\n\n"),
    clean("gzip", gzip.compress(H + b"1,a,x\n"), file_name="parts.csv.gz"),
    clean(
        "gzip_of_two_members", gzip.compress(H) + gzip.compress(b'1,"a\n'  b'b",x\n'), file_name="parts.csv.gz"
    ),
    clean("name_with_spaces", H + b"1,a,x\n", file_name="parts of  May.csv"),
    clean("name_in_unicode", H + b"1,a,x\n", file_name="parts-märz-漢\\t\t.csv"),
    clean("latin1", "id;name;note\n1;Zoë;100 ¥\n".encode("latin-1"), entity="latin"),
    clean("windows1252", "id,name,note\n1,Zoë,100 €\n".encode("cp1252"), entity="windows"),
    clean("one_column", b"note\na\n\n  \nb\n", entity="notes"),
    clean("one_column_end_of_data_mark", b"note\na\n\\.\nb\n", entity="notes"),
    clean("one_column_quoted_end_of_data_mark", b'note\n"\\."\n"a\n\\.\nb"\nc\n', entity="notes"),
]  # fmt: skip

TORN = [
    torn("too_few_fields", H + b"1,a,x\n2,b\n3,c,z\n", ONE_AND_THREE, ("wrong_field_count", 3, 1, b"2,b\n")),
    torn("too_many_fields", H + b"1,a,x\n2,b,y,z\n3,c,z\n", ONE_AND_THREE,
         ("wrong_field_count", 3, 1, b"2,b,y,z\n")),
    torn("first_and_last_line", H + b"0\n1,a,x\n4,d", ONE,
         ("wrong_field_count", 2, 1, b"0\n"), ("wrong_field_count", 4, 1, b"4,d")),
    torn("every_line", H + b"1\n2\n", [], ("wrong_field_count", 2, 1, b"1\n"), ("wrong_field_count", 3, 1, b"2\n")),
    torn("quoted_lines_in_a_short_record", H + b'1,a,x\n2,"b\nb"\n3,c,z\n', ONE_AND_THREE,
         ("wrong_field_count", 3, 2, b'2,"b\nb"\n')),
    torn("line_number_after_quoted_lines", H + b'1,"a\n\na",x\n2\n', [("1", "a\n\na", "x")],
         ("wrong_field_count", 5, 1, b"2\n")),
    torn("quote_inside_a_field", H + b'1,a,x\n2,5" pipe,y\n3,c,z\n', ONE_AND_THREE,
         ("bad_quoting", 3, 1, b'2,5" pipe,y\n')),
    torn("two_quotes_inside_a_field", H + b'1,a,x\n2,5"" pipe,y\n3,c,z\n', ONE_AND_THREE,
         ("bad_quoting", 3, 1, b'2,5"" pipe,y\n')),
    torn("text_after_a_closing_quote", H + b'1,a,x\n2,"b" ,y\n3,c,z\n', ONE_AND_THREE,
         ("bad_quoting", 3, 1, b'2,"b" ,y\n')),
    torn("quotes_that_copy_would_drop", H + b'1,a,x\n2,b"b"b,y\n3,c,z\n', ONE_AND_THREE,
         ("bad_quoting", 3, 1, b'2,b"b"b,y\n')),
    torn("quote_never_closed", H + b'1,a,x\n2,"b,y\n3,c,z\n', ONE_AND_THREE, ("bad_quoting", 3, 1, b'2,"b,y\n')),
    torn("quote_never_closed_before_good_quotes", H + b'1,a,x\n2,"b,y\n3,"c",z\n', ONE_AND_THREE,
         ("bad_quoting", 3, 1, b'2,"b,y\n')),
    torn("quote_never_closed_in_the_last_line", H + b'1,a,x\n2,b,"', ONE, ("bad_quoting", 3, 1, b'2,b,"')),
    torn("two_quotes_never_closed", H + b'1,a,x\n2,"b,y\n3,c,z\n4,"d,y\n5,e,u\n', [*ONE_AND_THREE, ("5", "e", "u")],
         ("bad_quoting", 3, 1, b'2,"b,y\n'), ("bad_quoting", 5, 1, b'4,"d,y\n')),
    torn("carriage_return_in_a_field", H + b"1,a,x\n2,b\rb,y\n3,c,z\n", ONE_AND_THREE,
         ("bad_quoting", 3, 1, b"2,b\rb,y\n")),
    torn("carriage_returns_end_the_rows", H + b"1,a,x\r2,b,y\r", [], ("bad_quoting", 2, 1, b"1,a,x\r2,b,y\r")),
    torn("invalid_utf8", H + b"1,a,x\n2,\xff\xfe,y\n3,c,z\n", ONE_AND_THREE,
         ("invalid_utf8", 3, 1, b"2,\xff\xfe,y\n")),
    torn("latin1_in_a_utf8_file", H + b"1,a,x\n2,Zo\xeb,y\n3,c,z\n", ONE_AND_THREE,
         ("invalid_utf8", 3, 1, b"2,Zo\xeb,y\n")),
    torn("utf8_surrogate", H + b"1,a,x\n2,\xed\xa0\x80,y\n", ONE, ("invalid_utf8", 3, 1, b"2,\xed\xa0\x80,y\n")),
    torn("utf8_cut_off", H + b"1,a,x\n2,b,\xe6\xbc", ONE, ("invalid_utf8", 3, 1, b"2,b,\xe6\xbc")),
    torn("byte_that_windows1252_lacks", H + b"1,a,x\n2,\x81,y\n", ONE, ("invalid_utf8", 3, 1, b"2,\x81,y\n"),
         entity="windows"),
    torn("nul_byte", H + b"1,a,x\n2,b\0,y\n3,c,z\n", ONE_AND_THREE, ("nul_byte", 3, 1, b"2,b\0,y\n")),
    torn("nul_byte_in_quoted_lines", H + b'1,a,x\n2,"b\n\0",y\n', ONE, ("nul_byte", 3, 2, b'2,"b\n\0",y\n')),
    torn("record_too_long", H + b"1,a,x\n" + TOO_LONG + b"3,c,z\n", ONE_AND_THREE,
         ("record_too_long", 3, 1, TOO_LONG)),
    torn("blank_lines_are_no_rows", H + b"\n1,a,x\n\r\n\n3,c,z\n\n\n", ONE_AND_THREE),
    torn("line_of_spaces", H + b"1,a,x\n  \n", ONE, ("wrong_field_count", 3, 1, b"  \n")),
    torn("end_of_data_mark", H + b"1,a,x\n\\.\n3,c,z\n", ONE_AND_THREE, ("wrong_field_count", 3, 1, b"\\.\n")),
    torn("end_of_file_mark", H + b"1,a,x\n\x1a", ONE, ("wrong_field_count", 3, 1, b"\x1a")),
    torn("header_repeated_with_other_fields", H + b"1,a,x\nid,name\n", ONE,
         ("wrong_field_count", 3, 1, b"id,name\n")),
    torn("one_of_everything",
         codecs.BOM_UTF8 + b'id,name,note\r\n1,a,x\r\n\r\n2\r\n3,"c\r\n4,\xff,d\r\n5,"e\r\ne",v\r\n6,f\0,w\r\n7,g"",u',
         [("1", "a", "x"), ("5", "e\r\ne", "v")],
         ("wrong_field_count", 4, 1, b"2\r\n"), ("bad_quoting", 5, 1, b'3,"c\r\n'),
         ("invalid_utf8", 6, 1, b"4,\xff,d\r\n"), ("nul_byte", 9, 1, b"6,f\0,w\r\n"),
         ("bad_quoting", 10, 1, b'7,g"",u')),
]  # fmt: skip

PARQUET = [
    Case("parquet", _parquet(_parts_table()), [("1", "a", "x"), ("2", "b", "y")], file_name="parts.parquet"),
    Case(
        "parquet_nulls_and_empty_texts",
        _parquet(_parts_table(name=["", None], note=['q"u\n,', "\\N"])),
        [("1", "", 'q"u\n,'), ("2", None, "\\N")],
        file_name="parts.parquet",
    ),
    Case(
        "parquet_numbers_are_plain_decimals",
        _parquet(_parts_table(id=pa.array([1, None]), name=[1e-7, 1.5e22], note=[29.85, 20.0])),
        [("1", "0.0000001", "29.85"), (None, "15000000000000000000000", "20")],
        file_name="parts.parquet",
    ),
    Case(
        "parquet_reordered_and_dictionary",
        _parquet(pa.table({"note": [True, False], "id": ["1", "2"], "name": pa.array(["a", None]).dictionary_encode()})),
        [("1", "a", "true"), ("2", None, "false")],
        file_name="parts.parquet",
    ),
    Case(
        "parquet_nul_and_invalid_utf8",
        _parquet(_parts_table(id=["1", "2", "3"], name=_bad_text([b"a\nb", b"\0", b"\xff"]), note=["x", None, "z"])),
        [("1", "a\nb", "x")],
        [("nul_byte", 2, 1, b'"2","\0",\n'), ("invalid_utf8", 3, 1, b'"3","\xff","z"\n')],
        file_name="parts.parquet",
    ),
]  # fmt: skip

REFUSED = [
    refused("missing_file", lambda _: None, "found none. Check the path"),
    refused("folder", lambda path: path.mkdir(), "found a folder"),
    refused("pipe", os.mkfifo, "device, socket or pipe"),
    refused("empty_file", b"", r"empty file \(0 bytes\)"),
    refused("blank_file", b"\n\n", "found a blank line"),
    refused("header_only", H, "expected rows below the header, found none"),
    refused("header_and_blank_lines", H + b"\n\n", "expected rows below the header, found none"),
    refused("header_without_line_feed", b"id,name,note", "found a single line"),
    refused("only_carriage_returns", b"id,name,note\r1,a,x\r", "lone carriage returns"),
    refused("missing_column", b"id,name\n1,a\n", "found no 'note'"),
    refused("extra_column", b"id,name,note,extra\n1,a,x,y\n", "found 'extra', which is not declared"),
    refused("renamed_column", b"id,Name,note\n1,a,x\n", r"no 'name' \(is 'Name' meant\?\)"),
    refused("column_with_a_space", b"id, name,note\n1,a,x\n", r"no 'name' \(is ' name' meant\?\)"),
    refused("doubled_column", b"id,name,name\n1,a,x\n", "found 'name' more than once; no 'note'"),
    refused("doubled_column_beside_all", b"id,name,note,note\n1,a,x,x\n", "found 'note' more than once"),
    refused("no_header", b"1,a,x\n2,b,y\n", "no 'id'; no 'name'; no 'note'"),
    refused("semicolons", b"id;name;note\n1;a;x\n", r"separated by comma \(','\), found semicolon \(';'\)"),
    refused("tabs", b"id\tname\tnote\n1\ta\tx\n", r"found tab \('\\t'\)"),
    refused("pipes", b"id|name|note\n1|a|x\n", r"found pipe \('\|'\)"),
    refused("commas_for_semicolons", H + b"1,a,x\n", r"found comma \(','\)", entity="latin"),
    refused("header_with_an_open_quote", b'"id,name,note\n1,a,x\n', "expected a header, found an opening quote"),
    refused("header_in_latin1", b"id,name,n\xf6te\n1,a,x\n", "byte 0xf6 at byte 10 is not UTF8"),
    refused("utf16", codecs.BOM_UTF16_LE + "id,name,note\n1,a,x\n".encode("utf-16-le"), "UTF-16"),
    refused("utf16_big_endian", "id,name,note\n1,a,x\n".encode("utf-16"), "UTF-16"),
    refused("utf16_without_mark", "id,name,note\n1,a,x\n".encode("utf-16-le"), "UTF-16 or binary"),
    refused("utf8_mark_in_a_latin1_file", codecs.BOM_UTF8 + b"id;name;note\n1;a;x\n", "byte-order mark", "latin"),
    refused("excel_workbook", b"PK\x03\x04rest", "Excel workbook"),
    refused("gzip_named_csv", _GZIP, "name end in .csv.gz"),
    refused("parquet_named_csv", _parquet(_parts_table()), "name end in .parquet"),
    refused("gzip_cut_off", _GZIP[: len(_GZIP) // 2], "whole gzip file", file_name="parts.csv.gz"),
    refused("gzip_without_its_end", _GZIP[:-4], "whole gzip file", file_name="parts.csv.gz"),
    refused("gzip_with_a_wrong_checksum", _GZIP[:-8] + b"0000" + _GZIP[-4:], "CRC", file_name="parts.csv.gz"),
    refused("gzip_with_rubbish_behind", _GZIP + b"rubbish", "whole gzip file", file_name="parts.csv.gz"),
    refused("no_gzip", H + b"1,a,x\n", "whole gzip file", file_name="parts.csv.gz"),
    refused("gzip_of_nothing", gzip.compress(b""), "found a blank line", file_name="parts.csv.gz"),
    refused("no_parquet", H + b"1,a,x\n", "expected a whole Parquet file", file_name="parts.parquet"),
    refused("parquet_cut_off", _parquet(_parts_table())[:-20], "whole Parquet file", file_name="parts.parquet"),
    refused("parquet_without_rows", _parquet(_parts_table().slice(0, 0)), "expected rows",
            file_name="parts.parquet"),
    refused("parquet_missing_column", _parquet(_parts_table().drop_columns("note")), "found no 'note'",
            file_name="parts.parquet"),
    refused("parquet_nested", _parquet(_parts_table(note=[{"a": 1}, {"a": 2}])), "'note' is struct",
            file_name="parts.parquet"),
    refused("parquet_list", _parquet(_parts_table(note=[[1], [2]])), "'note' is list", file_name="parts.parquet"),
    refused("line_without_end", H + b"1," + b"l" * (65 * 1024 * 1024), "found a longer one"),
]  # fmt: skip

CORPUS = [*CLEAN, *TORN, *PARQUET, *REFUSED]
