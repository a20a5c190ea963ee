"""SQL of Metabase's questions with its tags resolved as Metabase resolves them."""

import re

from churn_ml.bi.metabase_files import Card, Tag

Value = str | list[str]
_OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_TAG = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def resolved(card: Card, values: dict[str, Value]) -> str:
    """Return the SQL that Metabase sends: an optional part stands only where each of its tags has a value."""
    tags = {tag.name: tag for tag in card.tags}

    def keep(match: re.Match[str]) -> str:
        return match[1] if all(name in values for name in _TAG.findall(match[1])) else ""

    return _TAG.sub(lambda match: _filled(tags[match[1]], values), _OPTIONAL.sub(keep, card.sql))


def _filled(tag: Tag, values: dict[str, Value]) -> str:
    if tag.name not in values:
        if tag.field is None:
            raise ValueError(f"Metabase asks for {tag.name} where it stands outside an optional part")
        return "1 = 1"
    value = values[tag.name]
    if tag.field is None:
        return f"date {_quoted(str(value))}"
    table, column = tag.field
    chosen = ", ".join(map(_quoted, [value] if isinstance(value, str) else value))
    return f'"marts"."{table}"."{column}" IN ({chosen})'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
