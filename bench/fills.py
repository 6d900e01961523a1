"""How many fills one process routes and applies per second, with every guard, the journal and the locks in place.

`python -m bench.fills` starts a server of its own, feeds real-shaped fills and prices for 10 and for 500 books, and
prints a line per stage. Figures are of one process on one core, beside the server on another.
"""

from itertools import cycle
from statistics import median
from time import monotonic, perf_counter

from harvest_tasks import keys
from harvest_tasks.brain import BOOKS_PER_BELL, Brain
from harvest_tasks.connection import Client, connect
from harvest_tasks.processes.embedded import EmbeddedServer, wheel_executable
from harvest_tasks.settings import Settings
from harvest_tasks.tracking.routing import Route
from harvest_tasks.watcher import watch

FILLS = 60_000
REPEATS = 3


def main() -> None:
    with EmbeddedServer(wheel_executable()) as server:
        client = connect(server.url())
        settings = Settings.from_env({"REDIS_URL": server.url(), "HARVEST_MAX_ACTIONS_PER_MIN": "10000"})
        for books in (10, 500):
            routed, applied = zip(*(measure(client, settings, books) for _ in range(REPEATS)), strict=True)
            print(f"{books:>4} books  route {median(routed):>9,.0f} fills/s  apply {median(applied):>9,.0f} fills/s")


def measure(client: Client, settings: Settings, books: int) -> tuple[float, float]:
    """Fills per second of each stage, over one feed."""
    client.flushall()
    Route(client, settings).ensure_group()
    feed(client, settings.stream_execution_result, books)
    names: set[str] = set()
    started = perf_counter()
    while unread(client, settings):
        watch(client, settings, 0.5, names.update)
    routed = FILLS / (perf_counter() - started)
    started = perf_counter()
    brain = Brain(client, settings)
    ordered = sorted(names)
    for start in range(0, len(ordered), BOOKS_PER_BELL):
        brain.process(ordered[start : start + BOOKS_PER_BELL], monotonic() + 600)
    applied = FILLS / (perf_counter() - started)
    counts = client.hgetall(keys.COUNTS)
    assert int(counts["applied"]) == FILLS, counts
    return routed, applied


def unread(client: Client, settings: Settings) -> bool:
    (group,) = client.xinfo_groups(settings.stream_execution_result)
    return bool(group["lag"] or group["pending"])


def feed(client: Client, stream: str, books: int) -> None:
    """Fills in a range of prices that crosses rungs now and then."""
    symbols = cycle(f"B{i}USDT" for i in range(books))
    with client.pipeline(transaction=False) as pipe:
        for n, symbol in zip(range(FILLS), symbols, strict=False):
            pipe.xadd(stream, fill(n, symbol, n // books))
            if n % 1000 == 999:
                pipe.execute()
        pipe.execute()


def fill(n: int, symbol: str, turn: int) -> dict[str, str]:
    """A buy, then sells of a part, with a stop 2 % away."""
    price = 100 + (turn * 7) % 5
    return {
        "symbol": symbol,
        "status": "FILLED",
        "side": "BUY" if turn % 3 == 0 else "SELL",
        "qty": "0.3" if turn % 3 == 0 else "0.1",
        "price": str(price),
        "stop_loss": str(price - 2 if turn % 3 == 0 else price + 2),
        "trade_id": str(n),
    }


if __name__ == "__main__":
    main()
