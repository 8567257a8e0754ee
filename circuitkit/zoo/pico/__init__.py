"""The pico model: a small transformer trained on a synthetic language, and its recipe."""
