"""Alembic's folder: the schema's history; `schema.py` runs it."""
