"""Tracked positions: the way of an entry through inbox, plan and commit."""
