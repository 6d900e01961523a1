"""How long from a price on the input stream to the intent it makes due, with `harvest up` running.

`python -m bench.latency` starts Harvest with a server, workers and beat of its own, opens one position per sample, and
then, one after the other, sends the price that crosses its first rung and waits for the intent.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from time import perf_counter, sleep

from harvest_tasks import keys
from harvest_tasks.connection import Client, connect
from harvest_tasks.settings import Settings

SAMPLES = 500
PAUSE_SEC = 0.005


def main() -> None:
    measure("without Flower", "--no-flower")
    measure("with Flower")


def measure(label: str, *options: str) -> None:
    with harvest_up(*options) as url:
        client = connect(url)
        settings = Settings.from_env({"REDIS_URL": url})
        open_positions(client, settings)
        took = [sample(client, settings, symbol) for symbol in symbols()]
    cuts = quantiles(took, n=100)
    marks = f"p50 {median(took):.2f} ms  p90 {cuts[89]:.2f} ms  p99 {cuts[98]:.2f} ms"
    print(f"fill to intent {label:<14}  {marks}  n={len(took)}")


@contextmanager
def harvest_up(*options: str) -> Iterator[str]:
    """A running Harvest; the URL of its server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "HARVEST_"))}
    environ |= {"HARVEST_MAX_ACTIONS_PER_MIN": "10000", "HARVEST_SET_BE_AT_R": "90", "LOG_LEVEL": "WARNING"}
    argv = [sys.executable, "-m", "harvest_tasks", "up", *options]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("ready"):
                raise SystemExit(f"harvest up did not become ready: {line!r}")
            yield next(word.removeprefix("redis=") for word in line.split() if word.startswith("redis="))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def symbols() -> Iterator[str]:
    return (f"L{i}USDT" for i in range(SAMPLES))


def open_positions(client: Client, settings: Settings) -> None:
    for symbol in symbols():
        fill = {"symbol": symbol, "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}
        client.xadd(settings.stream_execution_result, fill)
    deadline = perf_counter() + 30
    while client.scard(keys.OPEN) < SAMPLES:
        if perf_counter() > deadline:
            raise SystemExit("positions did not open within 30 s")
        sleep(0.05)


def sample(client: Client, settings: Settings, symbol: str) -> float:
    """Milliseconds from XADD to the intent's arrival at a blocked reader."""
    sleep(PAUSE_SEC)
    stream = settings.stream_harvest_suggestions
    last = client.xinfo_stream(stream)["last-generated-id"] if client.exists(stream) else "0-0"
    started = perf_counter()
    client.xadd(settings.stream_execution_result, {"symbol": symbol, "status": "PRICE_UPDATE", "price": "105.1"})
    if not client.xread({stream: last}, block=5000):
        raise SystemExit(f"no intent for {symbol} within 5 s")
    return (perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
