"""Memory of a book on the server, and of a process that applies fills for a long time."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Final

from bench import desk, growth, ours, traffic
from bench.feed import Feed
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks.server.client import Client, connect
from harvest_tasks.wire.symbols import symbol_of

ENTRIES_PER_BOOK: Final = 10
SHARED: Final = 100
"""Books whose keys are measured."""


def per_book(setup: Setup) -> Iterator[Result]:
    """The server's memory for a book with an open position after a few fills, without the input stream."""
    books = setup.pick(2_000, 1_000)
    with desk.server() as url:
        settings = desk.settings(url)
        client = connect(url)
        feed = Feed(url, settings.stream_execution_result).fill(traffic.main(books * ENTRIES_PER_BOOK, books))
        feed.restore()
        before = used(client)
        ours.in_one_process(settings, feed.entries)
        added = (used(client) - before) / books
        kinds = by_kind(client, books)
    parts = ", ".join(f"{kind} {size:,.0f}" for kind, size in kinds.items())
    note = f"MEMORY USAGE of the keys of a book, {books:,} books after {ENTRIES_PER_BOOK} entries each: {parts}; "
    note += f"the server's used_memory grew by {added:,.0f} per book, with the journal and the intents"
    goal = Goal("ours", at_most=1_536)
    yield Result("bytes_per_book", "bytes", sum(kinds.values()), books=books, goal=goal, note=note)


def used(client: Client) -> int:
    """Bytes used by the server."""
    return int(client.info("memory")["used_memory"])


def by_kind(client: Client, books: int) -> dict[str, float]:
    """Mean bytes of each kind of key of a book."""
    names = [f"B{i}USDT" for i in range(0, books, max(1, books // SHARED))]
    found: dict[str, list[int]] = {}
    for name in names:
        for key in _keys(client, name):
            kind = key.removeprefix("quantum:").replace(f":{symbol_of(name)}", "").removesuffix(":0")
            found.setdefault(kind, []).append(int(client.memory_usage(key, samples=0) or 0))
    means = {kind: sum(sizes) / len(names) for kind, sizes in sorted(found.items())}
    dedup = [client.memory_usage(key, samples=0) or 0 for key in client.scan_iter("quantum:dedup:*", count=10_000)]
    return {**means, "dedup": sum(dedup) / books}


def _keys(client: Client, name: str) -> Sequence[str]:
    kinds = ("position", "inbox", "history", "lifecycles", "lock")
    candidates = [f"quantum:harvest:{kind}:{name}" for kind in kinds]
    candidates += [f"quantum:harvest:trades:{name}:{generation}" for generation in range(2)]
    return [key for key in candidates if client.exists(key)]


def of_a_worker(setup: Setup) -> Iterator[Result]:
    """Memory samples during the run of the longest backlog: resident memory, and allocator blocks in use.

    Resident memory jumps with the size of batches and is seldom returned; a leak shows in the blocks in use.
    """
    entries, looks = growth.longest_backlog(setup), growth.long_run(setup).memory
    sizes = [look.resident_mb for look in looks]
    note = f"{entries:,} entries in one process; from {min(sizes):.1f} to {max(sizes):.1f} MB in {len(looks)} samples"
    resident = _beside_its_past(entries, [(look.applied, look.resident_mb) for look in looks])
    yield Result("rss_per_worker_mb", "MB", *resident, goal=Goal("ratio", at_most=1.05), note=note)
    in_use = _beside_its_past(entries, [(look.applied, look.blocks) for look in looks])
    goal, note = Goal("ratio", at_most=1.01), "blocks of Python's allocator in use, in the same samples"
    yield Result("blocks_per_worker", "blocks", *in_use, goal=goal, note=note)


def _beside_its_past(entries: int, looks: Sequence[tuple[int, float]]) -> tuple[float, float, str, float]:
    """The mean of the second half of the run, that of the quarter before, what that is called, and their ratio."""
    before = mean(size for applied, size in looks if entries / 4 <= applied < entries / 2)
    later = mean(size for applied, size in looks if applied >= entries / 2)
    return later, before, "its own past", later / before
