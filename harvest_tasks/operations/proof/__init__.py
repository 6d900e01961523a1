"""What `harvest proof` checks of a deployment, each check with what it saw.

Checks only read, except `rehearsal`, which writes to a database of its own. Nothing that runs Harvest imports this.
"""
