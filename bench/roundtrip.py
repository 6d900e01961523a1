"""What a fill takes where each round trip to the server takes a while: `python -m bench.roundtrip`, in two minutes.

Workers, watcher and beat reach their server through a proxy that delays both directions. Prices that cross a rung are
fed to the server directly, and their intents read there, so what is measured is what Harvest adds.
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
from bench.latency import ENVIRON, Line
from bench.processes import NotStarted, harvest_up, ready
from bench.report import machine

TARGET: Final = Path(".bench/roundtrip.json")
ROUND_TRIPS_MS: Final = (0, 10, 20, 40)
SAMPLES: Final = 25
WAYS: Final = {"the watcher applies it itself": {}, "through a bell": {"WATCH_ANSWERS_UP_TO": "0"}}
READ_BYTES: Final = 1 << 16


def main() -> int:
    """Prints the medians and writes them to `TARGET`. 1 if Harvest did not come up behind the proxy."""
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
        line = Line(url, SAMPLES)
        return median(line.sample() for _ in range(SAMPLES))


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """The URL of a proxy before the server at `url` that passes everything on `seconds` later, in both directions."""
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
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(host, port)
        await asyncio.gather(_pass_on(reader, downstream, seconds), _pass_on(upstream, writer, seconds))

    server = await asyncio.start_server(relay, sock=listener)
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Until `reader` ends. Timers of one length fire in the order in which they were set."""
    loop = asyncio.get_running_loop()
    while data := await reader.read(READ_BYTES):
        loop.call_later(seconds, writer.write, data)
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    sys.exit(main())
