"""Latency with a slow network to the server: `python -m bench.roundtrip`, in two minutes.

Workers, watcher and beat reach the server through a proxy that delays traffic both ways. Prices that cross a rung are
written to the server directly, and intents are read from it directly, so only Harvest's part is delayed.
"""

import asyncio
import json
import multiprocessing as mp
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

from bench import desk
from bench.latency import ENVIRON, Pipeline
from bench.processes import NotStarted, harvest_up, ready
from bench.report import machine

TARGET: Final = Path(".bench/roundtrip.json")
ROUND_TRIPS_MS: Final = (0, 10, 20, 40)
SAMPLES: Final = 25
WAYS: Final = {"the watcher applies it itself": {}, "through a wake-up": {"WATCH_ANSWERS_UP_TO": "0"}}
READ_BYTES: Final = 1 << 16


def main() -> int:
    """Print the medians and write them to `TARGET`. Exit code 1 if Harvest did not start behind the proxy."""
    rows = []
    print("round trip  " + "  ".join(WAYS))
    for trip_ms in ROUND_TRIPS_MS:
        try:
            took = {way: _sampled(trip_ms, **environ) for way, environ in WAYS.items()}
        except NotStarted as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        rows.append({"round_trip_ms": trip_ms, **took})
        print(f"{trip_ms:>7} ms  " + "  ".join(f"{took[way]:>{len(way) - 3}.1f} ms" for way in WAYS), flush=True)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps({"machine": machine(), "samples": SAMPLES, "rows": rows}, indent=2) + "\n")
    return 0


def _sampled(trip_ms: int, **environ: str) -> float:
    """Median milliseconds from a price to its intent."""
    with (
        desk.server() as url,
        delayed(url, trip_ms / 2_000) as behind,
        harvest_up("--no-flower", url=behind, **ENVIRON, **environ) as up,
    ):
        ready(up)
        line = Pipeline(url, SAMPLES)
        return median(line.sample() for _ in range(SAMPLES))


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """The URL of a proxy for the server at `url` that delays everything by `seconds`, both ways."""
    place = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serve = mp.get_context("fork").Process(target=_serve, args=(listener, place.hostname, place.port, seconds))
        serve.start()
    try:
        yield f"redis://127.0.0.1:{port}{place.path}"
    finally:
        serve.kill()
        serve.join()


def _serve(listener: socket.socket, host: str, port: int, seconds: float) -> None:
    asyncio.run(_proxy(listener, host, port, seconds))


async def _proxy(listener: socket.socket, host: str, port: int, seconds: float) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(host, port)
        await asyncio.gather(_pass_on(reader, downstream, seconds), _pass_on(upstream, writer, seconds))

    server = await asyncio.start_server(forward, sock=listener)
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Forward until `reader` ends. Timers of equal length fire in the order in which they were set."""
    loop = asyncio.get_running_loop()
    while data := await reader.read(READ_BYTES):
        loop.call_later(seconds, writer.write, data)
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    sys.exit(main())
