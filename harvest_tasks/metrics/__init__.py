"""The Prometheus exporter. It reads Redis and writes nothing.

A scrape takes two round trips to the state server and one to the broker. Each subject has a module with the commands to
send (`commands`, `more_commands`) and the metrics to make of the replies (`families`); `exporter` combines them.
"""
