"""How Harvest runs: Celery tasks around the kernel, with Redis holding all state.

execution.result -> watcher -> inbox of a book -> brain -> kernel -> ledger -> suggestions or trade.intent
beat -> proposals -> kernel -> proposal hash
"""
