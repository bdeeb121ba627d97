"""A page of the records that a query sees, a turn that was stated anew and an imported row are looked up.

Revision: 0012, after 0011. Each was found by reading all records of its scope, or of the ledger.
"""

import sqlalchemy as sa
from alembic import op

from hybrid_memory.ledger.content import marks

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RECORDS = sa.table("records", *map(sa.column, ("id", "own_hash", "row_hash")), sa.column("metadata", sa.JSON()))
NAMES = ("own_words", "imported_id")
FOUND_BY = {"own_hash": ["own_hash", "scope_key"], "row_hash": ["row_hash"]}


def upgrade() -> None:
    """Make the index of pages, and the hashes of those that have something to be hashed."""
    _index("page", ["scope_key", "id"], "status <> 'forgotten'")
    for name in FOUND_BY:
        op.add_column("records", sa.Column(name, sa.String(64), nullable=True))
    connection = op.get_bind()
    said = sa.cast(RECORDS.c.metadata, sa.Text())
    marked = sa.or_(*(said.contains(f'"{name}"', autoescape=True) for name in NAMES))
    rows = connection.execute(sa.select(RECORDS.c.id, RECORDS.c.metadata).where(marked)).all()
    if rows:
        connection.execute(
            sa.update(RECORDS)
            .where(RECORDS.c.id == sa.bindparam("row_id"))
            .values({name: sa.bindparam(name) for name in FOUND_BY}),
            [{"row_id": row.id, **marks(row.metadata)} for row in rows],
        )
    for name, columns in FOUND_BY.items():
        _index(name, columns, f"{name} IS NOT NULL")


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_records_page", "records")
    for name in FOUND_BY:
        op.drop_index(f"ix_records_{name}", "records")
        op.drop_column("records", name)


def _index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(f"ix_records_{name}", "records", columns, unique=False, sqlite_where=where, postgresql_where=where)
