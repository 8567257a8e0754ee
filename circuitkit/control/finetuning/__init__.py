"""Fine-tuning seen as a circuit: which edges carry what it changed."""
