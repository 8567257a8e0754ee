"""Monitoring: a direction as a small scorer, measured on topics that it was not made from."""
