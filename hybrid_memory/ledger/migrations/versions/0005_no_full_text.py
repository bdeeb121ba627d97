"""The database no longer indexes words: retrieval keeps an index of its own beside that of the vectors.

Revision: 0005, after 0004.
"""

from alembic import op

from hybrid_memory.ledger.dialects import dialect_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the words; the passages have the texts."""
    for statement in dialect_of(op.get_bind()).NO_FULL_TEXT:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: an older version would search in words that nobody wrote down."""
    raise NotImplementedError("an older version needs the words of every passage: restore an export there instead")
