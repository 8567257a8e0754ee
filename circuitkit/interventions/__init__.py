"""Exact interventions: ablate, patch and run circuits; and the gradients between them."""
