"""`harvest demo`: recorded prices and a simple strategy around a whole running Harvest, and a check of what it did.

tape (the prices) -> strategy (when to open and close) -> session (plays both through the input stream) -> summary,
which `verification` compares with the kernel folded over the same entries. `stage` is the private server and its
processes, `view` what one sees meanwhile.
"""
