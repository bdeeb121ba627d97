"""Records are the same when their words are, sign by sign, and answer the same question: their hashes are made anew.

Revision: 0007, after 0006. What was joined before stays joined; tombstones keep their hashes, whose texts are gone.
Forgotten records lose their sources too, which versions before this one left to them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from hybrid_memory.ledger.content import both_hashes, said_text
from hybrid_memory.types import Example, Slot

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

RECORDS = sa.table(
    "records",
    *map(sa.column, ("id", "status", "source", "text", "asked", "subject", "attribute", "value")),
    *map(sa.column, ("slot_key", "content_hash", "near_hash")),
    sa.column("examples", sa.JSON()),
    sa.column("metadata", sa.JSON()),
)
PASSAGES = sa.table("passages", *map(sa.column, ("record_id", "position", "text")))


def upgrade() -> None:
    """Keep the question of a turn, and hash every record that still says something."""
    op.add_column("records", sa.Column("asked", sa.Text(), nullable=True))
    connection = op.get_bind()
    connection.execute(sa.update(RECORDS).where(RECORDS.c.status == "forgotten").values(source=""))
    first = sa.and_(PASSAGES.c.record_id == RECORDS.c.id, PASSAGES.c.position == 0)
    rows = connection.execute(
        sa.select(RECORDS, PASSAGES.c.text.label("passage"))
        .join_from(RECORDS, PASSAGES, first, isouter=True)
        .where(RECORDS.c.status != "forgotten")
    ).all()
    names = {"asked": "question", "slot_key": "slot", "content_hash": "content", "near_hash": "near"}
    if rows:
        connection.execute(
            sa.update(RECORDS)
            .where(RECORDS.c.id == sa.bindparam("row_id"))
            .values(**{column: sa.bindparam(name) for column, name in names.items()}),
            [_change(row) for row in rows],
        )


def _change(row: sa.Row[Any]) -> dict[str, str | None]:
    slot = None if row.subject is None else Slot(row.subject, row.attribute)
    examples = [Example(**example) for example in row.examples]
    asked = _asked(row)
    text = said_text(row.text, asked)
    content, near = both_hashes(text=text, slot=slot, value=row.value, examples=examples)
    return {
        "row_id": row.id,
        "question": asked,
        "slot": None if slot is None else slot.key,
        "content": content,
        "near": near,
    }


def _asked(row: sa.Row[Any]) -> str | None:
    """Return the question before a turn: it was indexed with it."""
    before, found, _ = (row.passage or "").partition(f"\n{row.text}")
    return (
        before
        if row.metadata.get("role") == "user" and "turn" in row.metadata and found and before.endswith("?")
        else None
    )


def downgrade() -> None:
    """Refuse: an older version would take other texts for the same."""
    raise NotImplementedError("an older version compares texts otherwise: restore an export there instead")
