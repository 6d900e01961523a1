"""A producer that knows of each of its entries whether the server said that it has it.

What was sent and not answered may be there or not. As a careful producer does, it looks, and sends again what is not.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory.invariants import Violation
from laboratory.traffic import BOOKS, Fields, Traffic

TAG: Final = "order_id"
"""The field by which an entry is found again."""


class Producer(Traffic):
    """`answered` are the entries by the ids that the server gave them, `doubtful` those that nobody answered for."""

    def __init__(
        self, client: Client, settings: Settings, rng: random.Random, books: Sequence[str] = BOOKS, *, spread: int
    ) -> None:
        super().__init__(client, settings, rng, books, spread=spread)
        self.answered: dict[str, Fields] = {}
        self.doubtful: list[Fields] = []
        self.refused = 0
        self.found_in_doubt = 0
        self._tags = 0
        self._newest = "0-0"

    @property
    def client(self) -> Client:
        return self._client

    def drawn(self, count: int) -> list[Fields]:
        """So many entries of random books, and repetitions of some, for others to send."""
        return [entry for _ in range(count) for entry in self._next()]

    def send(self, *entries: Fields) -> list[str]:
        """In one go. Raises the error of a connection that breaks; what the server refuses was not accepted."""
        return self._deliver([self._tagged(entry) for entry in entries])

    def resolve(self) -> None:
        """Find out what became of the entries in doubt, and send again what did not arrive."""
        there = {fields[TAG]: entry_id for entry_id, fields in self._since(self._newest)}
        missing = [entry for entry in self.doubtful if entry[TAG] not in there]
        for entry in self.doubtful:
            if entry[TAG] in there:
                self._accept(there[entry[TAG]], entry)
                self.found_in_doubt += 1
        self.doubtful = []
        self._deliver(missing)

    def unlike(self) -> Iterator[Violation]:
        """Where the stream is not what was answered for: each entry there once, and no other."""
        there = dict(self._since("0-0"))
        for entry_id in self.answered.keys() - there.keys():
            yield Violation("I4", "lost", f"{entry_id} was answered for and is not there: {self.answered[entry_id]}")
        for entry_id in there.keys() - self.answered.keys():
            yield Violation("I4", "doubled", f"{entry_id} was never answered for: {there[entry_id]}")
        for entry_id in there.keys() & self.answered.keys():
            if there[entry_id] != self.answered[entry_id]:
                yield Violation("I4", "torn", f"{entry_id} is {there[entry_id]}, not {self.answered[entry_id]}")

    def _tagged(self, entry: Fields) -> Fields:
        self._tags += 1
        return {**entry, TAG: f"o{self._tags}"}

    def _deliver(self, entries: Sequence[Fields]) -> list[str]:
        pool = self._client.connection_pool
        self.doubtful = [*entries]
        connection: Any = pool.get_connection()
        ids: list[str] = []
        try:
            source = self._settings.stream_execution_result
            commands = [("XADD", source, "*", *(part for pair in entry.items() for part in pair)) for entry in entries]
            connection.send_packed_command(connection.pack_commands(commands))
            for entry in entries:
                ids += self._heard(connection, entry)
        except RedisError:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        return ids

    def _heard(self, connection: Any, entry: Fields) -> list[str]:
        """The id that the next reply gives `entry`; none if it is refused."""
        try:
            entry_id = str(connection.read_response())
        except ResponseError:
            self.refused += 1
            self.doubtful.remove(entry)
            return []
        self.doubtful.remove(entry)
        self._accept(entry_id, entry)
        return [entry_id]

    def _accept(self, entry_id: str, entry: Fields) -> None:
        self.answered[entry_id] = entry
        self._newest = entry_id
        self.fed += 1
        self.fills += entry["status"] == "FILLED"

    def _since(self, entry_id: str) -> Iterator[tuple[str, Fields]]:
        source = self._settings.stream_execution_result
        while rows := self._client.xrange(source, f"({entry_id}", count=5_000):
            entry_id = rows[-1][0]
            yield from rows
