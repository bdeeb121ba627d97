"""Sources know whether a user or the operator was behind them, so that strangers confirm strangers only.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Vouch for the source a record came from, as the record says; who else repeated it is not known."""
    op.add_column("sources", sa.Column("vouched", sa.Boolean(), nullable=False, server_default=sa.false()))
    sources = sa.table("sources", sa.column("record_id"), sa.column("source"), sa.column("vouched"))
    records = sa.table("records", sa.column("id"), sa.column("source"), sa.column("trust"))
    own = sa.exists().where(
        records.c.id == sources.c.record_id, records.c.source == sources.c.source, records.c.trust != "external"
    )
    op.execute(sa.update(sources).where(own).values(vouched=sa.true()))


def downgrade() -> None:
    """Forget it again."""
    op.drop_column("sources", "vouched")
