"""Records are the same when their words are, sign by sign: the hashes that tell are made anew.

Revision: 0007, after 0006. What was joined before stays joined; tombstones keep their hashes, whose texts are gone.
"""

import sqlalchemy as sa
from alembic import op

from hybrid_memory.ledger.content import content_hash, near_hash
from hybrid_memory.types import Example, Slot

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Hash every record that still says something."""
    names = ("id", "status", "text", "subject", "attribute", "value", "slot_key", "content_hash", "near_hash")
    records = sa.table("records", *(sa.column(name) for name in names), sa.column("examples", sa.JSON()))
    connection = op.get_bind()
    changes = []
    for row in connection.execute(sa.select(records).where(records.c.status != "forgotten")).all():
        slot = None if row.subject is None else Slot(row.subject, row.attribute)
        examples = [Example(**example) for example in row.examples]
        changes.append(
            {
                "row_id": row.id,
                "slot": None if slot is None else slot.key,
                "content": content_hash(text=row.text, slot=slot, value=row.value, examples=examples),
                "near": near_hash(row.text, examples),
            }
        )
    if changes:
        given = {"slot_key": "slot", "content_hash": "content", "near_hash": "near"}
        values = {column: sa.bindparam(name) for column, name in given.items()}
        connection.execute(sa.update(records).where(records.c.id == sa.bindparam("row_id")).values(values), changes)


def downgrade() -> None:
    """Refuse: an older version would take other texts for the same."""
    raise NotImplementedError("an older version compares texts otherwise: restore an export there instead")
