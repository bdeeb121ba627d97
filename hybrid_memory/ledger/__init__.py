"""The truth: records, their history, and what has been decided about them, in one database."""
