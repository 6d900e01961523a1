"""Processes of a running Harvest: started, watched, and gone with their owner."""
