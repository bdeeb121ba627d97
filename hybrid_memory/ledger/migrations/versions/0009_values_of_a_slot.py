"""The values of a slot, and what a record replaced, are looked up, and not found by reading their whole scope.

Revision: 0009, after 0008. What is evidence now asks for each record whether another value of its slot interrupts it.
With status and valid_from in the index of scopes only, SQLite went there: ten thousand records took a minute.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index of slots with all that is asked for, and one of what was replaced."""
    op.drop_index("ix_records_slot", "records")
    _index("ix_records_slot", "slot_key", "scope_key", "status", "valid_from")
    _index("ix_records_superseded_by", "superseded_by")


def downgrade() -> None:
    """Make the former ones."""
    op.drop_index("ix_records_superseded_by", "records")
    op.drop_index("ix_records_slot", "records")
    _index("ix_records_slot", "slot_key", "scope_key")


def _index(name: str, *columns: str) -> None:
    there = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, "records", list(columns), unique=False, sqlite_where=there, postgresql_where=there)
