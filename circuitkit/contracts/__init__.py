"""Contracts: claims about circuits, kept in pyproject.toml and judged in CI."""
