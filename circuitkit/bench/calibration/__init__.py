"""Does the judge work? Circuits whose verdict is known, and the false alarms of its tests."""
