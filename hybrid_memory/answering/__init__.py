"""Answering: current evidence and adapted weights become one answer."""
