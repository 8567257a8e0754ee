"""Steering: directions in use. Found, ablated, added, set, taken out of weights, and selected."""
