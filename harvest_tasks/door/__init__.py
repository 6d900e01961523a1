"""From raw input entries to kernel entries, or a refusal with its reason."""
