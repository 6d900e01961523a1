"""How does Harvest talk to Redis? The client, the Lua scripts, the names of the keys, the server's clock, liveness."""
