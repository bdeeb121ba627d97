"""Self-edits keep the layers and the augmentations that they ask for.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two columns, empty for the self-edits that are there."""
    op.add_column("self_edits", sa.Column("targets", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("self_edits", sa.Column("augmentations", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Drop them again."""
    op.drop_column("self_edits", "augmentations")
    op.drop_column("self_edits", "targets")
