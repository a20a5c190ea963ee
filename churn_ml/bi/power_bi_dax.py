"""DAX text: names as the language writes them, and expressions laid out over lines.

An expression is written as nested calls; short ones stay on one line, as people write them.
"""

from collections.abc import Sequence

_WIDTH = 90


def table(name: str) -> str:
    """Return the reference to a table."""
    escaped = name.replace("'", "''")
    return f"'{escaped}'"


def column(table_name: str, name: str) -> str:
    """Return the reference to a column of a table."""
    return f"{table(table_name)}[{name.replace(']', ']]')}]"


def measure(name: str) -> str:
    """Return the reference to a measure."""
    return f"[{name.replace(']', ']]')}]"


def text(value: str) -> str:
    """Return a string literal."""
    escaped = value.replace('"', '""')
    return f'"{escaped}"'


def call(function: str, *arguments: str) -> str:
    """Return a call; arguments that do not fit on one line stand on lines of their own, indented."""
    flat = f"{function} ( {', '.join(arguments)} )"
    if len(flat) <= _WIDTH and "\n" not in flat:
        return flat
    body = ",\n".join(indented(argument) for argument in arguments)
    return f"{function} (\n{body}\n)"


def with_variables(variables: Sequence[tuple[str, str]], result: str) -> str:
    """Return `result` after the variables that it names."""
    lines = [f"VAR {name} =\n{indented(value)}" for name, value in variables]
    return "\n".join([*lines, f"RETURN\n{indented(result)}"])


def indented(expression: str) -> str:
    """Return `expression` one step to the right."""
    return "\n".join(f"    {line}" for line in expression.split("\n"))
