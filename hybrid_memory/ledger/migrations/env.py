"""Alembic's entry: run migrations on the connection, and in the transaction, that schema.py hands over."""

from alembic import context

from hybrid_memory.ledger.tables import metadata


def run() -> None:
    """Bring the database of the handed-over connection to the wanted revision."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=True,  # SQLite can; Alembic does not assume it
        render_as_batch=True,  # SQLite alters a table by copying it
    )
    context.run_migrations()


# Alembic executes this file and gives `context` its contents just before; whoever else imports it runs nothing.
if hasattr(context, "config"):
    run()
