"""What does Harvest propose for a position? Reads the inputs, computes, and publishes; it never writes intents.

cycle runs all of it: inputs reads, sources, positions and markets interpret, record makes fields, publish writes them,
summary reports. skip_reason lists why a book may have no proposal.
"""
