"""`harvest metrics`."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Final

import click
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from harvest_tasks.commands.exit_codes import UNREACHABLE
from harvest_tasks.commands.session import Failure
from harvest_tasks.metrics.exporter import Exporter
from harvest_tasks.server.client import connect
from harvest_tasks.settings import redis_url
from harvest_tasks.settings.model import Settings

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SERVER_TIMEOUT_SEC: Final = 3.0
"""How long a server may hang: Prometheus itself gives up after 10 s."""


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=9810, show_default=True, help="Port to listen on.")
@click.option("--once", is_flag=True, help="Print one scrape instead of serving them.")
def metrics(address: str, port: int, once: bool) -> None:
    """Serve metrics to Prometheus until SIGTERM or Ctrl-C.

    Reads the server and the broker at each scrape, and writes to neither. While the server is unreachable, harvest_up
    is 0. Log lines go to stderr.
    """
    settings = Settings.from_env(os.environ)
    logging.basicConfig(level=settings.log_level, format=LOG_FORMAT, stream=sys.stderr)
    with exporting(settings) as exporter:
        registry = CollectorRegistry()
        registry.register(exporter)
        if once:
            _print(registry, exporter)
        else:
            _serve(registry, address, port)


@contextmanager
def exporting(settings: Settings) -> Iterator[Exporter]:
    """An exporter for the deployment that `settings` name; its connections are closed at the end."""
    broker = redis_url.parse_address(settings.broker_url, redis_url.CELERY_FORMS).for_redis()
    state, queues = (connect(url, SERVER_TIMEOUT_SEC) for url in (settings.redis_url, broker))
    try:
        yield Exporter(state, queues, settings)
    finally:
        state.close()
        queues.close()


def _print(registry: CollectorRegistry, exporter: Exporter) -> None:
    click.echo(generate_latest(registry).decode(), nl=False)
    if not exporter.is_up:
        raise click.exceptions.Exit(UNREACHABLE)


def _serve(registry: CollectorRegistry, address: str, port: int) -> None:
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise Failure(
            f"cannot listen on {address} port {port}: {error.strerror}. Fix: choose another --address or --port"
        ) from error
    click.echo(f"ready metrics=http://{address}:{port}/metrics")
    _until_stopped()
    server.shutdown()
    server.server_close()
    thread.join()


def _until_stopped() -> None:
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
