"""Prompt files of other programs and of benchmarks, read as prompt pairs."""
