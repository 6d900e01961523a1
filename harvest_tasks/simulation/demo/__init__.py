"""`harvest demo`: recorded prices and a simple strategy drive a complete running Harvest; the result is verified.

`prices` -> `strategy` (when to open and close) -> `session` (feeds both through the input stream) -> `recording` (what
Harvest did) -> `verification` (the same entries folded by the kernel alone) -> `summary`. `environment` runs the
private server and processes, `view` shows the live state meanwhile.
"""
