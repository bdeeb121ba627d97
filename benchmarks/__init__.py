"""Measurements of the memory on made-up companies; every script is run from the repository root."""
