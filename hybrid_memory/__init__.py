"""A memory with two halves for LLM applications: retrieval and weights."""
