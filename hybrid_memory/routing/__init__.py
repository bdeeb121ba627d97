"""Decide where each draft goes: policies, durability classifier, screens."""
