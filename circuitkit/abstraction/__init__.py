"""Hypotheses: which algorithm a model follows, as code, and where each of its variables is."""
