"""What may a deployment choose? `model.current_settings()` is one frozen object, read once from the environment."""
