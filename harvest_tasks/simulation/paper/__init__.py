"""The reference executor: fills reduce-only intents at the mark."""
