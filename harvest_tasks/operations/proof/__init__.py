"""What `harvest proof` shows of a deployment: exhibits, each with what was seen.

It reads, but for `rehearsal`, which writes to a database of its own. Nothing that runs Harvest imports it.
"""
