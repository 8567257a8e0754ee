"""The hypotheses that ship: for three tasks, and for every planted model, right ones and wrong."""
