"""Circuits that papers describe, as data: which heads and MLPs, which edges, and who says so."""
