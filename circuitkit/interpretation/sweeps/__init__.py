"""What is read off whole runs: logit lens, attribution to logits, patterns, tracing."""
