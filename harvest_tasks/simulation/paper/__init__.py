"""`harvest paper`, the reference executor: fills reduce-only intents at the mark price."""
