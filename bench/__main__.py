"""All measurements, one after the other."""

from bench import fills, latency

fills.main()
latency.main()
