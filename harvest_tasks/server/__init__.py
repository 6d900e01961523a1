"""The Redis server: the client, the scripts, the names of the keys, its clock, and what says that Harvest is alive."""
