"""Reporting: run directories, Graphviz pictures, figures, and reports in HTML and Markdown."""
