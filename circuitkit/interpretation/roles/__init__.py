"""Which role a component plays, each tested against a null."""
