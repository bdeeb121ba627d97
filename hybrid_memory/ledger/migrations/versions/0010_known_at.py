"""How a record stood before each change is kept, so that what the memory knew at a time can be told.

Revision: 0010, after 0009. What changed before is gone: in a ledger that has records, the present begins what can
be told.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    """Make the table, and note since when it is whole."""
    op.create_table(
        "former",
        sa.Column("record_id", sa.String(26), sa.ForeignKey("records.id", name="fk_former_record_id"), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("trust", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("superseded_by", sa.String(26)),
        sa.Column("route", sa.String(16), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=False),
        sa.Column("learning", sa.String(16), nullable=False),
        sa.Column("learning_detail", sa.Text(), nullable=False),
        sa.Column("shard_id", sa.Text()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "until", name="pk_former"),
    )
    connection = op.get_bind()
    if connection.execute(sa.text("SELECT id FROM records LIMIT 1")).first() is not None:
        now = (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1)
        connection.execute(sa.text("INSERT INTO meta (key, value) VALUES ('known_since', :now)"), {"now": str(now)})


def downgrade() -> None:
    """Drop the table; what it kept is lost."""
    op.drop_table("former")
    op.get_bind().execute(sa.text("DELETE FROM meta WHERE key = 'known_since'"))
