"""Numbers in, estimates out: bootstrap, gaps, bounds, power."""
