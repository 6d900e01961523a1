"""The proxy of the bench that shows what round trips cost."""

from time import monotonic

from bench.roundtrip import delayed
from harvest_tasks.server.client import connect, round_trip

HALF_SEC = 0.03


def test_what_passes_the_proxy_takes_a_round_trip_more_and_keeps_its_order(url: str) -> None:
    with delayed(url, HALF_SEC) as behind, connect(behind) as client:
        client.ping()
        began = monotonic()
        assert round_trip(client, [("RPUSH", "a", n) for n in range(1, 400)]) == list(range(1, 400))
        assert monotonic() - began >= 2 * HALF_SEC
        assert client.lrange("a", 0, -1) == [str(n) for n in range(1, 400)]
