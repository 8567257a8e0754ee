"""Gradients of the metric at receivers and nodes, attribution terms, soft circuits."""
