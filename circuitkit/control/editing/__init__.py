"""Editing facts: one matrix or a few are changed, so that a prompt goes on otherwise."""
