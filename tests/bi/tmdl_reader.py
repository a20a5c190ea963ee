"""A strict reader of TMDL: what it does not know it refuses, with the line.

The grammar is Microsoft's (https://learn.microsoft.com/analysis-services/tmdl/tmdl-overview): objects
and properties by indentation, names in single quotes where they hold a space or one of . = : ',
`= expression` on the line or deeper than the properties, `///` for the description of what follows.
Which object may hold which property and child is from the schema of Microsoft's TMDL language
extension, for the objects that the project has; a property that is not listed here is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = r"(?:'(?:[^']|'')+'|[^\s.=:']+)"
DECLARATION = re.compile(rf"(?P<kind>\w+)(?: (?P<name>{NAME}))?(?P<expression> =(?: (?P<text>\S.*))?)?")
PROPERTY = re.compile(r"(?P<name>\w+): (?P<value>\S.*)")
REFERENCE = re.compile(rf"(?P<table>{NAME})\.(?P<column>{NAME})")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

TEXT = re.compile(r"[^\"\s].*")
NUMBER = re.compile(r"\d+")
FLAG = re.compile(r"true|false")
NAMED = re.compile(NAME)


def one_of(*values: str) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, values)))


@dataclass(frozen=True)
class Kind:
    """What an object may hold; `expression` says whether `=` must, may or must not follow its name."""

    properties: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    children: tuple[str, ...] = ()
    is_named: bool = True
    expression: str = "never"
    is_described: bool = False


KINDS: dict[str, Kind] = {
    "database": Kind({"compatibilityLevel": NUMBER}, is_named=False),
    "model": Kind(
        {"culture": TEXT, "sourceQueryCulture": TEXT,
         "defaultPowerBIDataSourceVersion": one_of("powerBI_V1", "powerBI_V2", "powerBI_V3")},
        ("dataAccessOptions",),
    ),
    "dataAccessOptions": Kind({"legacyRedirects": FLAG, "returnErrorValuesAsNull": FLAG}, is_named=False),
    "cultureInfo": Kind({}, ("linguisticMetadata",)),
    "linguisticMetadata": Kind({"contentType": one_of("json", "xml")}, is_named=False, expression="always"),
    "expression": Kind({"lineageTag": UUID}, ("annotation",), expression="always", is_described=True),
    "relationship": Kind({"isActive": FLAG, "fromColumn": REFERENCE, "toColumn": REFERENCE}),
    "table": Kind(
        {"lineageTag": UUID, "dataCategory": one_of("Time"), "isHidden": FLAG},
        ("column", "measure", "partition", "annotation"),
        is_described=True,
    ),
    "column": Kind(
        {"dataType": one_of("string", "int64", "double", "dateTime", "decimal", "boolean"),
         "isHidden": FLAG, "isKey": FLAG, "formatString": TEXT, "lineageTag": UUID,
         "summarizeBy": one_of("none", "sum"), "sourceColumn": TEXT, "sortByColumn": NAMED},
        ("annotation",),
        is_described=True,
    ),
    "measure": Kind(
        {"formatString": TEXT, "isHidden": FLAG, "displayFolder": TEXT, "lineageTag": UUID},
        ("annotation",),
        expression="always",
        is_described=True,
    ),
    "partition": Kind(
        {"mode": one_of("import", "directQuery")}, ("source",), expression="always", is_described=True
    ),
    "source": Kind({}, is_named=False, expression="always"),
    "annotation": Kind({}, expression="always"),
}  # fmt: skip
ROOTS = {"database", "model", "cultureInfo", "expression", "relationship", "table", "annotation", "ref"}


class TmdlError(Exception):
    """The text is not TMDL as the grammar has it."""


@dataclass
class Item:
    """An object of the model: its kind, name, expression, description, properties and children."""

    kind: str
    name: str
    expression: str = ""
    description: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    children: list["Item"] = field(default_factory=list)

    def all(self, kind: str) -> list["Item"]:
        return [child for child in self.children if child.kind == kind]


def read(text: str) -> list[Item]:
    """Return the objects of one file.

    Raises
    ------
    TmdlError
        Where the text is not of the grammar; the message has the line.
    """
    if "\r" in text or not text.endswith("\n"):
        raise TmdlError("lines end with LF, and the last one too")
    reader = _Reader(text.split("\n")[:-1])
    items = reader.objects(0, ROOTS)
    if reader.place < len(reader.lines):
        raise reader.error("nothing of this kind may stand here")
    return items


def split_reference(text: str) -> tuple[str, str]:
    """Return (table, column) of a reference to a column."""
    found = REFERENCE.fullmatch(text)
    if not found:
        raise TmdlError(f"{text!r} names no column of a table")
    return bare(found["table"]), bare(found["column"])


def bare(name: str) -> str:
    """Return a name without its quotes."""
    return name[1:-1].replace("''", "'") if name.startswith("'") else name


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.place = 0

    def error(self, why: str) -> TmdlError:
        return TmdlError(f"line {self.place + 1}: {why}: {self.lines[self.place]!r}")

    def depth(self) -> int:
        line = self.lines[self.place]
        content = line.lstrip("\t")
        if content.startswith(" "):
            raise self.error("indented with spaces")
        return len(line) - len(content)

    def skip_blank_lines(self) -> bool:
        while self.place < len(self.lines) and not self.lines[self.place]:
            self.place += 1
        return self.place < len(self.lines)

    def objects(self, depth: int, allowed: set[str]) -> list[Item]:
        items: list[Item] = []
        while self.skip_blank_lines() and self.depth() == depth:
            item = self.object(depth, allowed)
            if item is None:
                break
            if any((other.kind, other.name) == (item.kind, item.name) for other in items):
                raise TmdlError(f"two {item.kind} {item.name!r} beside each other")
            items.append(item)
        return items

    def object(self, depth: int, allowed: set[str]) -> Item | None:
        before = self.place
        description = self.description(depth)
        text = self.lines[self.place][depth:]
        if text.startswith("ref ") and "ref" in allowed:
            return self.ref(text)
        found = DECLARATION.fullmatch(text)
        if not found or found["kind"] not in allowed:
            self.place = before
            return None
        kind = KINDS[found["kind"]]
        self.check_declaration(found, kind, description)
        item = Item(found["kind"], bare(found["name"] or ""), description=description)
        self.place += 1
        if found["expression"]:
            item.expression = found["text"] or self.block(depth)
        self.content(item, kind, depth + 1)
        return item

    def check_declaration(self, found: re.Match[str], kind: Kind, description: str) -> None:
        if kind.is_named != bool(found["name"]):
            raise self.error("a name is missing, or there is one too many")
        if (kind.expression == "always") != bool(found["expression"]):
            raise self.error("`=` is missing, or there is one too many")
        if description and not kind.is_described:
            raise self.error("this kind of object has no description")

    def ref(self, text: str) -> Item:
        found = re.fullmatch(rf"ref (table|cultureInfo|expression) ({NAME})", text)
        if not found:
            raise self.error("not a reference to a table, a culture or an expression")
        self.place += 1
        return Item(f"ref {found[1]}", bare(found[2]))

    def description(self, depth: int) -> str:
        lines = []
        while self.lines[self.place][depth:].startswith("///"):
            lines.append(self.lines[self.place][depth + 3 :].strip())
            self.place += 1
            if self.place == len(self.lines) or not self.lines[self.place] or self.depth() != depth:
                self.place -= 1
                raise self.error("a description stands right above its object")
        return "\n".join(lines)

    def block(self, depth: int) -> str:
        """Read a multi-line expression: everything deeper than the properties of its object."""
        lines: list[str] = []
        while self.place < len(self.lines):
            line = self.lines[self.place]
            if line and len(line) - len(line.lstrip("\t")) < depth + 2:
                break
            lines.append(line)
            self.place += 1
        while lines and not lines[-1]:
            lines.pop()
        if not lines:
            self.place -= 1
            raise self.error("an expression is missing")
        outer = min(len(line) - len(line.lstrip("\t")) for line in lines if line)
        return "\n".join(line[outer:] for line in lines)

    def content(self, item: Item, kind: Kind, depth: int) -> None:
        while self.skip_blank_lines() and self.depth() == depth:
            child = self.object(depth, set(kind.children))
            if child is not None:
                if any((other.kind, other.name) == (child.kind, child.name) for other in item.children):
                    raise TmdlError(f"{item.name}: two {child.kind} {child.name!r}")
                item.children.append(child)
                continue
            name, value = self.property(kind, depth)
            if name in item.properties:
                raise self.error("said twice")
            item.properties[name] = value
            self.place += 1
        if self.place < len(self.lines) and self.lines[self.place] and self.depth() > depth:
            raise self.error("deeper than what it could belong to")

    def property(self, kind: Kind, depth: int) -> tuple[str, str]:
        text: Any = self.lines[self.place][depth:]
        found = PROPERTY.fullmatch(text)
        name, value = (found["name"], found["value"]) if found else (text, "true")
        allowed = kind.properties.get(name)
        if allowed is None or (not found and allowed is not FLAG):
            raise self.error("not a property of this object")
        if not allowed.fullmatch(value) or value != value.rstrip():
            raise self.error("not a value of this property")
        return name, value
