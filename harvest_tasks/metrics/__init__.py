"""What an operator watches: the state of Harvest as Prometheus reads it. Reads Redis, and writes nothing.

Each scrape asks in two round trips, and one to the broker. What is asked, and how the replies become figures, is one
module for each subject; `exporter` puts them together.
"""
