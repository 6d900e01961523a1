"""FastStream's consumer of a Redis stream, in batches, doing the work of the bare loop.

FastStream reads, parses and acknowledges; the handler folds the batch and sends the one script, without ids, so that
acknowledging stays FastStream's. The producers know nothing of FastStream's envelope, so a parser of ours takes the
fields as they are: the default one tries to decode each entry as an envelope and then makes JSON of it, which takes
longer than the whole handler.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Final

import redis.asyncio
from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.message import RedisBatchStreamMessage

from bench.peers.bare_loop import COUNT, GROUP, Fields, Folding, begin, guards
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings

POLL_MS: Final = 500


class Consumer:
    """One subscriber with one handler."""

    def __init__(self, settings: Settings) -> None:
        self.folding = Folding(settings)
        self._settings = settings
        begin(connect(settings.redis_url), settings)

    def run(self, expected: int) -> None:
        """Run until `expected` entries are done."""
        asyncio.run(self._run(expected))

    async def _run(self, expected: int) -> None:
        broker = RedisBroker(self._settings.redis_url, logger=None, log_level=logging.CRITICAL)
        done = asyncio.Event()
        client = redis.asyncio.Redis.from_url(self._settings.redis_url, decode_responses=True, protocol=2)
        source = StreamSub(
            self._settings.stream_execution_result,
            group=GROUP,
            consumer="one",
            batch=True,
            max_records=COUNT,
            polling_interval=POLL_MS,
        )
        left = expected

        async def as_it_is(message: Any) -> RedisBatchStreamMessage:
            return RedisBatchStreamMessage(raw_message=message, body=b"", consumer=client, group=GROUP)

        @broker.subscriber(stream=source, parser=as_it_is, decoder=_entries, ack_policy=AckPolicy.NACK_ON_ERROR)
        async def handle(entries: Any) -> None:
            nonlocal left
            await self._apply(client, entries)
            left -= len(entries)
            if left <= 0:
                done.set()

        async with broker:
            await broker.start()
            await done.wait()
            # The last acknowledgement comes after the handler.
            await broker.stop()
        await client.aclose()

    async def _apply(self, client: "redis.asyncio.Redis", entries: "list[tuple[str, Fields]]") -> None:
        time, switch = await self._guards(client)
        held = guards(time, switch, self._settings.harvest_max_actions_per_min, self._settings)
        await client.execute_command("EVALSHA", *self.folding.script_arguments(entries, held, acknowledge=False))

    async def _guards(self, client: "redis.asyncio.Redis") -> Any:
        async with client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.get(self._settings.harvest_kill_switch_key)
            return await pipe.execute()


async def _entries(message: RedisBatchStreamMessage) -> "list[tuple[str, Fields]]":
    raw = message.raw_message
    return list(_decoded(raw["message_ids"], raw["data"]))


def _decoded(ids: "list[bytes]", data: "list[dict[bytes, bytes]]") -> Iterator[tuple[str, Fields]]:
    for entry_id, fields in zip(ids, data, strict=True):
        yield entry_id.decode(), {name.decode(): value.decode() for name, value in fields.items()}
