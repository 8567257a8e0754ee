"""Sparse dictionaries of a model's activations: SAEs and transcoders, read from their files."""
