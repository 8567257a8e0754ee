"""Interventions on a model, and whether its circuits foretold what they do."""
