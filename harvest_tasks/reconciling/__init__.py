"""The tracked positions beside the exchange's own record: compared, adopted at first start, frozen when they differ."""
