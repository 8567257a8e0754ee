"""Training sparse dictionaries on a model's activations, exactly and again to the bit."""
