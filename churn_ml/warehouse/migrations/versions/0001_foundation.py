"""Schemas, grants, the register of landings, runs, scores, models and publications."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL file of the same name."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # The driver's own cursor: the text holds many statements and no parameters.
    op.get_bind().connection.cursor().execute(statements)


def downgrade() -> None:
    """Refuse: a warehouse is restored from a backup, not migrated backwards."""
    raise NotImplementedError("restore a backup instead")
