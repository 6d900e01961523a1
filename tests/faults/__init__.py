"""The fault harness: what is injected, what must hold afterwards, and how often it was tried (`make faults`)."""
