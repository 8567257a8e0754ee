"""The tasks that ship with circuitkit, one behaviour per file."""
