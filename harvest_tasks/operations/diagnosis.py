"""What is wrong with a deployment, cause before consequence, and what mends it. Pure: it reads what Prometheus reads.

Each check looks at what the exporter tells and names at most one thing. The first that finds something is the place to
begin: what comes after it may follow from it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from harvest_tasks.operations.figures import Figures

OLDEST_VERSIONS: Final = {"redis": (7, 0), "valkey": (7, 2)}
STALE_INTERVALS: Final = 3
GRACE_SEC: Final = 20.0
"""A part of Harvest is late after so many of its intervals and this."""
CLOCK_SEC: Final = 2.0
BACKLOG: Final = 200
WAIT_SEC: Final = 10.0
MARKET_STATE_SEC: Final = 180.0
PRICE_SEC: Final = 60.0
FULL: Final = 0.9
"""Of the memory that the server may use."""
NAMED: Final = 3

CREWS: Final = {
    "proposals": "quantum-harvest-proposal",
    "adhoc": "quantum-harvest-adhoc",
    "fills": "quantum-harvest-brain",
    "watch": "quantum-harvest-brain",
    "control": "quantum-harvest-brain",
}
"""The unit whose worker consumes a queue."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What it is about in a few words, what was seen, and what to do about it."""

    subject: str
    problem: str
    remedy: str


Check = Callable[[Figures], Finding | None]


def findings(figures: Figures) -> list[Finding]:
    """All that is wrong, first things first. Without a server nothing else is known."""
    return list(_findings(figures))


def _findings(figures: Figures) -> Iterator[Finding]:
    away = server_away(figures)
    if away is not None:
        yield away
        return
    for check in CHECKS:
        found = check(figures)
        if found is not None:
            yield found


def server_away(figures: Figures) -> Finding | None:
    if figures.value("up"):
        return None
    return Finding("server", "the server of REDIS_URL does not answer", "start it, or mend REDIS_URL (harvest config)")


def broker_away(figures: Figures) -> Finding | None:
    if figures.value("broker_up"):
        return None
    return Finding(
        "broker", "the server of BROKER_URL does not answer", "start it, or mend BROKER_URL (harvest config)"
    )


def rights(figures: Figures) -> Finding | None:
    refused = figures.value("scrape_refused_questions")
    if not refused:
        return None
    problem = f"the server refuses {refused:.0f} of what is asked"
    return Finding(
        "rights", problem, "the log line above names it: load the ACL file again, or delete the key of a wrong type"
    )


def version(figures: Figures) -> Finding | None:
    for name, is_version in zip(figures.by("name", "server_info"), figures.by("version", "server_info"), strict=True):
        oldest = OLDEST_VERSIONS[name]
        if tuple(int(part) for part in is_version.split(".")[:2]) < oldest:
            wanted = ".".join(map(str, oldest))
            return Finding("version", f"the server is {name} {is_version}", f"install {name} {wanted} or later")
    return None


def eviction(figures: Figures) -> Finding | None:
    if not figures.value("server_evicts"):
        return None
    problem = "the server deletes keys when it is full"
    return Finding("eviction", problem, "redis-cli config set maxmemory-policy noeviction, and in its file")


def persistence(figures: Figures) -> Finding | None:
    if figures.value("server_save_failed"):
        return Finding("persistence", "the server could not write to disk", "df, and the server's log")
    if figures.value("server_persists"):
        return None
    problem = "the server does not log its writes to disk"
    return Finding("persistence", problem, "redis-cli config set appendonly yes, and in its file")


def memory(figures: Figures) -> Finding | None:
    used, limit = figures.value("server_memory_bytes"), figures.value("server_memory_limit_bytes")
    if not limit or used < FULL * limit:
        return None
    problem = f"the server uses {used / limit:.0%} of the memory it may: at 100 % it refuses every write"
    return Finding("memory", problem, "redis-cli config set maxmemory, larger or 0, and in its file")


def clock(figures: Figures) -> Finding | None:
    ahead = figures.value("server_clock_ahead_seconds")
    if abs(ahead) <= CLOCK_SEC:
        return None
    problem = f"the server's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
    return Finding("clock", problem, "timedatectl set-ntp true, on the host that is wrong")


def workers(figures: Figures) -> Finding | None:
    if figures.consumed is None:
        return None
    missing = [queue for queue in CREWS if queue not in figures.consumed]
    if not missing:
        return None
    units = " ".join(dict.fromkeys(CREWS[queue] for queue in missing))
    problem = f"no worker consumes {_listed(missing)}"
    return Finding("workers", problem, f"systemctl restart {units} (or harvest up)")


def beat(figures: Figures) -> Finding | None:
    late = _late(figures).get("beat")
    if late is None:
        return None
    return Finding("beat", f"it {late}", "systemctl restart quantum-harvest-beat (or harvest up)")


def group(figures: Figures) -> Finding | None:
    if figures.value("input_has_group"):
        return None
    problem = "the input stream has no consumer group: nothing reads fills"
    return Finding("group", problem, "systemctl restart quantum-harvest-brain (or harvest up): its watcher makes it")


def parts(figures: Figures) -> Finding | None:
    late = {part: how for part, how in _late(figures).items() if part != "beat"}
    if not late:
        return None
    part, how = next(iter(late.items()))
    unit = CREWS["proposals" if part == "proposals" else "control"]
    return Finding(part, f"it {how}", f"systemctl restart {unit} (or harvest up); journalctl -u {unit}")


def backlog(figures: Figures) -> Finding | None:
    long = [queue for queue, waiting in figures.by("queue", "queue_messages").items() if waiting > BACKLOG]
    if not long:
        return None
    units = " ".join(dict.fromkeys(CREWS[queue] for queue in long))
    return Finding("queues", f"over {BACKLOG} bells wait in {_listed(long)}", f"systemctl restart {units}")


def unread(figures: Figures) -> Finding | None:
    waited = max(figures.value("input_oldest_unread_seconds"), figures.value("input_oldest_pending_seconds"))
    if waited <= WAIT_SEC:
        return None
    lag = figures.value("input_lag_entries")
    problem = f"input entries wait for {waited:.0f} s, {lag:.0f} are unread"
    return Finding("input", problem, "systemctl restart quantum-harvest-brain; journalctl -u quantum-harvest-brain")


def inboxes(figures: Figures) -> Finding | None:
    waited = figures.value("inbox_oldest_seconds")
    if waited <= WAIT_SEC:
        return None
    problem = f"{figures.value('inbox_entries'):.0f} entries wait in inboxes, the oldest for {waited:.0f} s"
    return Finding("inboxes", problem, "journalctl -u quantum-harvest-brain; harvest positions --all shows the books")


def lost(figures: Figures) -> Finding | None:
    if not figures.value("input_lost"):
        return None
    problem = "input entries were lost unread, and every book is frozen"
    return Finding("lost input", problem, "harvest reconcile --adopt, then harvest release --all")


def unreadable(figures: Figures) -> Finding | None:
    count = figures.value("books", state="unreadable")
    if not count:
        return None
    problem = f"records of books that Harvest did not write: {count:.0f}"
    return Finding("records", problem, "harvest positions --all names them; restore them from a backup")


def phantom(figures: Figures) -> Finding | None:
    differ = figures.value("reconciled_books", result="differ")
    if not differ:
        return None
    problem = f"positions that the exchange does not have like that: {differ:.0f}"
    return Finding(
        "phantom positions", problem, "harvest reconcile shows them; harvest reconcile --adopt takes its word"
    )


def frozen(figures: Figures) -> Finding | None:
    causes = figures.by("book", "book_frozen")
    if not causes:
        return None
    first = next(iter(causes))
    problem = f"{_listed(list(causes))}: nothing of theirs is published"
    return Finding(
        "frozen books", problem, f"harvest explain {first}; once its position is right, harvest release {first}"
    )


def market_states(figures: Figures) -> Finding | None:
    missing = figures.value("market_states", state="missing")
    old = [name for name, age in figures.by("symbol", "market_state_age_seconds").items() if age > MARKET_STATE_SEC]
    if not missing and not old:
        return None
    problem = f"symbols without one: {missing:.0f}" if missing else f"too old: {_listed(old)}"
    return Finding(
        "market state", problem, "start the service that writes them; harvest propose --once names the symbols"
    )


def invented(figures: Figures) -> Finding | None:
    count = figures.value("proposals_held_synthetic")
    if not count:
        return None
    problem = f"proposals for invented positions: {count:.0f}"
    return Finding("synthetic positions", problem, "set SYNTHETIC_FALLBACK=false, and restart the workers")


def prices(figures: Figures) -> Finding | None:
    old = [book for book, age in figures.by("book", "position_mark_age_seconds").items() if age > PRICE_SEC]
    if not old:
        return None
    return Finding("prices", f"too old to publish anything: {_listed(old)}", "start the price feed")


def unanswered(figures: Figures) -> Finding | None:
    count = figures.value("intents_unanswered")
    if not count:
        return None
    return Finding("intents", f"nobody answered: {count:.0f}", "start the executor; harvest intents names them")


def killed(figures: Figures) -> Finding | None:
    if not figures.value("kill_switch"):
        return None
    return Finding("kill switch", "it is on: nothing is published", "harvest kill off, if that is not wanted")


CHECKS: Final[tuple[Check, ...]] = (
    broker_away,
    rights,
    version,
    eviction,
    persistence,
    memory,
    clock,
    workers,
    beat,
    group,
    parts,
    backlog,
    lost,
    unread,
    inboxes,
    unreadable,
    phantom,
    frozen,
    market_states,
    invented,
    prices,
    unanswered,
    killed,
)


def _late(figures: Figures) -> dict[str, str]:
    """The parts that did their work too long ago, and how long that is."""
    allowed = {
        of: STALE_INTERVALS * interval + GRACE_SEC
        for of, interval in figures.by("of", "heartbeat_interval_seconds").items()
    }
    since_start = figures.now - min(figures.by("worker", "worker_started_timestamp_seconds").values(), default=-inf)
    late = {}
    for of, age in figures.by("of", "heartbeat_age_seconds").items():
        # What never worked may only just have begun.
        if (since_start if age == inf else age) > allowed[of]:
            late[of] = "never did its work" if age == inf else f"did its work {age:.0f} s ago"
    return late


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
