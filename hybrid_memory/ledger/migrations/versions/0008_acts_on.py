"""Stored study material says where its adapter acts, as what was just written always did.

Revision: 0008, after 0007. Examples are learned by adapters that act everywhere; before, a shard that was made again
from stored material lost that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SELF_EDITS = sa.table("self_edits", sa.column("record_id"), sa.column("acts_on"))
RECORDS = sa.table("records", sa.column("id"), sa.column("kind"))


def upgrade() -> None:
    """Add the column, and fill it for examples."""
    op.add_column("self_edits", sa.Column("acts_on", sa.String(16), nullable=True))
    examples = sa.select(RECORDS.c.id).where(RECORDS.c.kind == "example")
    op.get_bind().execute(sa.update(SELF_EDITS).where(SELF_EDITS.c.record_id.in_(examples)).values(acts_on="all"))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("self_edits", "acts_on")
