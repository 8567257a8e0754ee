"""The pico-behaviours model: pico, trained further on five planted behaviours, and its recipe."""
