"""Find passages: encoder, vector index, fusion with the words of the ledger."""
