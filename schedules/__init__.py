"""When does each task run? Plain data: what beat sends, and how often."""
