"""Option types that several commands take."""

from datetime import UTC, date, datetime

import typer


def parse_date(text: str) -> date:
    """Read a date written as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a date as YYYY-MM-DD, found {text!r}") from None


def parse_cut_off(text: str) -> datetime:
    """Read a moment written in ISO 8601; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a moment as YYYY-MM-DDTHH:MM:SS+00:00, found {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
