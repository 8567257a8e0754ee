"""How good methods and judges are, measured where the truth is known."""
