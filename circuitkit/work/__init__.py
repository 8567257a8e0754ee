"""How long work survives: progress, results kept item by item, files written whole."""
