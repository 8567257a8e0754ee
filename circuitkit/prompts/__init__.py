"""What a model reads: prompt pairs, tokenisation, prompt files, columns, splits."""
