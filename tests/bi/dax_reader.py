"""A reader of the DAX that the project writes: balanced calls, known functions, and what is referred to."""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:[^"]|"")*")|(?P<column>'(?:[^']|'')+'\[(?:[^\]]|\]\])+\])"""
    r"""|(?P<table>'(?:[^']|'')+')|(?P<measure>\[(?:[^\]]|\]\])+\])|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<word>[A-Za-z]\w*)|(?P<mark>[()=,*+])"""
)
FUNCTIONS = {
    "AVERAGE", "CALCULATE", "COUNT", "COUNTROWS", "DIVIDE", "FALSE", "HASONEVALUE", "IF", "ISBLANK",
    "ISEMPTY", "KEEPFILTERS", "MAX", "MAXX", "MIN", "SUM", "SUMX", "TOPN", "TRUE", "USERELATIONSHIP",
}  # fmt: skip
WORDS = {"VAR", "RETURN", "NOT", "DESC"}


@dataclass
class Parts:
    """What an expression refers to and calls."""

    columns: set[tuple[str, str]] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    measures: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


def read(expression: str) -> Parts:
    """Return what `expression` refers to.

    Raises
    ------
    ValueError
        If a sign, a word or a bracket is not DAX as the project writes it.
    """
    parts, open_brackets = Parts(), 0
    variables: set[str] = set()
    tokens = _tokens(expression)
    for place, (kind, text) in enumerate(tokens):
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "column":
            table, _, column = text[1:-1].partition("'[")
            parts.columns.add((table.replace("''", "'"), column.replace("]]", "]")))
        elif kind == "table":
            parts.tables.add(text[1:-1].replace("''", "'"))
        elif kind == "measure":
            parts.measures.add(text[1:-1].replace("]]", "]"))
        elif kind == "word":
            _read_word(text, following, tokens[place - 1][1] if place else "", parts, variables)
        elif text in "()":
            open_brackets += 1 if text == "(" else -1
            if open_brackets < 0:
                raise ValueError(f"a bracket too many in {expression}")
    if open_brackets:
        raise ValueError(f"a bracket is missing in {expression}")
    return parts


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    while place < len(expression):
        found = TOKEN.match(expression, place)
        if not found:
            raise ValueError(f"not DAX from {expression[place : place + 20]!r} on")
        place = found.end()
        if found.lastgroup != "space":
            tokens.append((str(found.lastgroup), found[0]))
    return tokens


def _read_word(word: str, following: str, former: str, parts: Parts, variables: set[str]) -> None:
    if word in FUNCTIONS and following == "(":
        parts.functions.add(word)
    elif former == "VAR" and following == "=":
        variables.add(word)
    elif word not in WORDS and word not in variables:
        raise ValueError(f"{word} is neither a function with its brackets nor a variable")
