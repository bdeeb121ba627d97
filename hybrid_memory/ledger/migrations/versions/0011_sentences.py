"""A passage may be a sentence of its record's text, by which that is found.

Revision: 0011, after 0010. What is there already stays a passage like any other.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("passages", sa.Column("sentence", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Take the sentences out of the indexes, as `forget` does, and drop the column."""
    sentence = "FROM passages WHERE sentence"
    op.execute(f"INSERT INTO removals (passage_id) SELECT id {sentence}")
    op.execute(f"DELETE {sentence}")
    op.drop_column("passages", "sentence")
