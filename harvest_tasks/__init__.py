"""Harvest as it runs: Celery tasks around the kernel, with Redis holding all state.

A fill:      input stream -> watcher -> inbox of its book -> brain -> kernel -> suggestions or trade.intent
A proposal:  beat -> kernel -> hash of proposals; calc-only, this path cannot reach what writes intents

Each package answers one question, and imports only what is below it here:

cli, commands   What does `harvest <command>` print?
operations      What does an operator read and do: explain, retry, diagnose, prove?
simulation      How does Harvest run without an exchange: the demo and the paper executor?
processes       How do several roles run, restart and stop under one supervisor?
metrics         What does Prometheus see?
tasks           Which tasks run on workers?
proposals       Which of them are calc-only?
reconciling     Does a tracked position agree with the exchange?
fills           How does a fill become an intent?
proposing       How does a position become a proposal?
messaging       How do tasks get to workers? `celery` is the app
settings        What does the environment say?
server          How does Harvest talk to Redis?
wire            What does the text in Redis mean?
logs            What does a log line look like?

`kernel` decides, and knows nothing of all this; `schedules` says when each task runs.
"""
