"""What the Makefile runs: the set-up, which needs nothing but Python, and the lock."""
