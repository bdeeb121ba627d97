"""Weights: the base model, the inner loop, shards, the gate, adapter versions on disk."""
