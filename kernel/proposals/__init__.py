"""Proposals: position snapshot and market state in, suggested action out (`proposal.compute_harvest_proposal`)."""
