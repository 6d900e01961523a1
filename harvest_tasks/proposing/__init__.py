"""Proposals: what they rest on, and how they are published."""
