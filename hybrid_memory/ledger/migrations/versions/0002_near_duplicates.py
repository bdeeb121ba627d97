"""Records know what they say apart from case and punctuation, so that near-duplicates are joined.

Revision: 0002, after 0001. Frozen once released: later changes are later revisions.
"""

import sqlalchemy as sa
from alembic import op

from hybrid_memory.ledger.content import near_hash
from hybrid_memory.types import Example

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the hash to every record that still says something."""
    op.add_column("records", sa.Column("near_hash", sa.String(length=64), nullable=False, server_default=""))
    op.create_index("ix_records_near_hash", "records", ["near_hash"], unique=False)
    records = sa.table(
        "records",
        sa.column("id"),
        sa.column("text"),
        sa.column("examples", sa.JSON()),
        sa.column("status"),
        sa.column("near_hash"),
    )
    connection = op.get_bind()
    rows = connection.execute(
        sa.select(records.c.id, records.c.text, records.c.examples).where(records.c.status != "forgotten")
    ).all()
    changes = [
        {"row_id": row.id, "hash": near_hash(row.text, [Example(**example) for example in row.examples])}
        for row in rows
    ]
    if changes:
        connection.execute(
            sa.update(records).where(records.c.id == sa.bindparam("row_id")).values(near_hash=sa.bindparam("hash")),
            changes,
        )


def downgrade() -> None:
    """Take the hash away again."""
    op.drop_index("ix_records_near_hash", "records")
    op.drop_column("records", "near_hash")
