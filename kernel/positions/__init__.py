"""Positions: what entries make of them (`position.apply`), and which harvests and stops are due (`decision.decide`)."""
