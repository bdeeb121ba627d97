"""Records are found by what they say within their scope, and indexes leave out the rows that have nothing to find.

Revision: 0006, after 0005. Without the scope in the index of the hashes, SQLite read every record of the scope for
each look-up, so that one more record cost more the more there were.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BEFORE = {
    "ix_records_content_hash": (["content_hash"], None),
    "ix_records_near_hash": (["near_hash"], None),
    "ix_records_slot": (["slot_key", "scope_key"], None),
    "ix_records_shard_id": (["shard_id"], None),
    "ix_records_valid_to": (["status", "valid_to"], None),
    "ix_records_expires_at": (["status", "expires_at"], None),
}
AFTER = {
    "ix_records_content_hash": (["content_hash", "scope_key"], None),
    "ix_records_near_hash": (["near_hash", "scope_key"], None),
    "ix_records_slot": (["slot_key", "scope_key"], "slot_key IS NOT NULL"),
    "ix_records_shard_id": (["shard_id"], "shard_id IS NOT NULL"),
    "ix_records_valid_to": (["status", "valid_to"], "valid_to IS NOT NULL"),
    "ix_records_expires_at": (["status", "expires_at"], "expires_at IS NOT NULL"),
}


def upgrade() -> None:
    """Make the indexes anew."""
    _replace(AFTER)


def downgrade() -> None:
    """Make the former ones."""
    _replace(BEFORE)


def _replace(indexes: Mapping[str, tuple[list[str], str | None]]) -> None:
    for name, (columns, condition) in indexes.items():
        where = None if condition is None else sa.text(condition)
        op.drop_index(name, "records")
        op.create_index(name, "records", columns, unique=False, sqlite_where=where, postgresql_where=where)
