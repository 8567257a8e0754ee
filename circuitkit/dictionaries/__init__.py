"""Sparse dictionaries of activations: read from files, and trained."""
