"""Circuits as data, no model needed: components, edges, files, differences, selection."""
