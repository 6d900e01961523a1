"""Measurements. `make bench` runs them all; each prints its own figures and what they are of."""
