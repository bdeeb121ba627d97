"""The first schema: records, passages, events, queue, self-edits, shards, adapters.

Revision: 0001, after nothing. Frozen once released: later changes are later revisions.
"""

import sqlalchemy as sa
from alembic import op

from hybrid_memory.ledger.dialects import dialect_of

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=True),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_record_id", "events", ["record_id"], unique=False)
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "records",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("trust", sa.String(length=16), nullable=False),
        sa.Column("observed_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("declared_to", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_from", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("slot_key", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("attribute", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("superseded_by", sa.String(length=26), nullable=True),
        sa.Column("supersedes", sa.String(length=26), nullable=True),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=False),
        sa.Column("learning", sa.String(length=16), nullable=False),
        sa.Column("learning_detail", sa.Text(), nullable=False),
        sa.Column("shard_id", sa.Text(), nullable=True),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
        sa.UniqueConstraint("scope_key", "idempotency_key", name=op.f("uq_records_scope_key_idempotency_key")),
    )
    op.create_index("ix_records_content_hash", "records", ["content_hash"], unique=False)
    op.create_index("ix_records_expires_at", "records", ["status", "expires_at"], unique=False)
    op.create_index("ix_records_shard_id", "records", ["shard_id"], unique=False)
    op.create_index("ix_records_slot", "records", ["slot_key", "scope_key"], unique=False)
    op.create_index("ix_records_valid_to", "records", ["status", "valid_to"], unique=False)
    op.create_index("ix_records_visible", "records", ["scope_key", "status", "valid_from"], unique=False)
    op.create_table(
        "removals",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("passage_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_removals")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "shards",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("masked", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
    )
    op.create_index("ix_shards_scope_key", "shards", ["scope_key"], unique=False)
    op.create_table(
        "tombstones",
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope_key", "hash", name=op.f("pk_tombstones")),
    )
    op.create_table(
        "adapters",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("shard_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_adapters_shard_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapters")),
        sa.UniqueConstraint("shard_id", "number", name=op.f("uq_adapters_shard_id_number")),
    )
    op.create_table(
        "passages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_passages_record_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passages")),
        sa.UniqueConstraint("record_id", "position", name=op.f("uq_passages_record_id_position")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "queue",
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_queue_record_id")),
        sa.PrimaryKeyConstraint("record_id", name=op.f("pk_queue")),
    )
    op.create_table(
        "self_edits",
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("generator", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("learning_rate", sa.Float(), nullable=True),
        sa.Column("epochs", sa.Integer(), nullable=True),
        sa.Column("loss_on", sa.String(length=16), nullable=True),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("dropped", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_self_edits_record_id")),
        sa.PrimaryKeyConstraint("record_id", name=op.f("pk_self_edits")),
    )
    op.create_table(
        "sources",
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_sources_record_id")),
        sa.PrimaryKeyConstraint("record_id", "source", name=op.f("pk_sources")),
    )
    op.create_table(
        "adapter_records",
        sa.Column("adapter_id", sa.Text(), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["adapter_id"], ["adapters.id"], name=op.f("fk_adapter_records_adapter_id")),
        sa.PrimaryKeyConstraint("adapter_id", "record_id", name=op.f("pk_adapter_records")),
    )
    op.create_index("ix_adapter_records_record_id", "adapter_records", ["record_id"], unique=False)
    for statement in dialect_of(op.get_bind()).SCHEMA:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: before the first schema there is nothing."""
    raise NotImplementedError("0001 is the first schema; restore an older export instead")
