"""What the checks and tasks of published runs said, for BI; one report per run."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(statements)


def downgrade() -> None:
    """Refuse: a warehouse is restored from a backup, not migrated backwards."""
    raise NotImplementedError("restore a backup instead")
