"""What may a deployment choose? Settings: one frozen object, read once from the environment: `model.current()`."""
