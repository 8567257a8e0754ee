"""Whether a circuit foretold what interventions do."""
