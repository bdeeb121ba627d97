"""Self-edits: study material written from records, verified before it is trained on."""
