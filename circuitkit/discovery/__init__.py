"""Discovery: methods that score every edge, and selection of a circuit from the scores."""
