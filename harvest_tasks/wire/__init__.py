"""What text in Redis means, both ways: pure functions from fields to values and back."""
