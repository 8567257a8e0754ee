"""What the parts of a circuit do, and why that is believed."""
