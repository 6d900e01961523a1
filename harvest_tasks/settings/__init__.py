"""Settings: read from the environment once, validated, frozen. `model` is the way in: `current()` and `Settings`."""
