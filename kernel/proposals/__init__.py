"""What is true of a proposal: a snapshot and a market state in, a suggested action out."""
