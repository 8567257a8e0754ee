"""Long work as a list of items, and who computes them: this process, or workers beside it."""
