"""Validation: criteria that judge a circuit on prompts that did not find it."""
