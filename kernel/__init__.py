"""What is true of a position: pure functions over frozen values, standard library only.

`proposal` answers what a harvest of a position would look like; `position` folds fills into positions;
`ladder` decides which reduce-only intents a position owes. Nothing here reads a clock, a file or a network.
"""
