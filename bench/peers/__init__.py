"""Peers: other ways to do the same work, each written as an expert in it would."""
