"""The server's clock: workers on several machines agree on it."""

from harvest_tasks.server.client import Client


def server_sec(client: Client) -> float:
    """Unix seconds."""
    seconds, microseconds = client.time()
    return float(seconds) + microseconds / 1e6


def server_ms(client: Client) -> int:
    """Unix milliseconds."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
