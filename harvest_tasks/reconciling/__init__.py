"""Do the tracked positions agree with the exchange's? Adopts open ones at first start, freezes what differs.

exchange reads the exchange snapshots, comparison compares one book, audit compares many, adoption and mismatch act by
themselves, settlement acts for an operator.
"""
