"""Directions in the residual stream: probes, steering, their effects."""
