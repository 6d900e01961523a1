"""What commit.lua must do, one promise of its contract a trial: each raises when the script breaks it.

A trial compares with the plan that was put to the script, and with what is written here; never with another run.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import sleep
from typing import Any, Final
from unittest.mock import patch

from harvest_tasks.fills import commit, ledger
from harvest_tasks.fills.commit import Committed, Conflict, Revise
from harvest_tasks.fills.loading import FailedBook, LoadedBook
from harvest_tasks.fills.plan import Plan
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire import inbox_entry
from harvest_tasks.wire.history import HarvestRow, row_json
from harvest_tasks.wire.position import position_fields
from kernel.positions.entry import Freeze
from kernel.positions.guards import Guards
from laboratory import invariants
from laboratory.scenarios import BOOK, FIRST, LIVE, bought, marked, sold
from laboratory.script_rig import HOLDER, NOW, Rig, said

FRESH_MS: Final = 30_000
DEDUP_TTL_SEC: Final = 900
INBOX: Final = keys.inbox(BOOK)
POSITION: Final = keys.position(BOOK)
DEDUP_KEY: Final = 17
"""Place of the first dedup key among the keys."""
LATE_MICROS: Final = 600_000
CLOCK_LOOKS: Final = 20
LOCK: Final = keys.lock(BOOK)
KILL: Final = "quantum:kill"
SHADOW_STREAM: Final = "quantum:stream:harvest.suggestions"
LIVE_STREAM: Final = "quantum:stream:trade.intent"

EVERYTHING: Final = (
    bought(trade_id="t1"),
    marked("106"),
    sold("0.25", "106", intent_id=FIRST, trade_id="t2"),
    sold("0.75", "107", trade_id="t3"),
    sold("0.75", "107", trade_id="t3"),
    bought("2", trade_id="t1"),
)
"""Opens, harvests live and moves stops in shadow, closes, repeats a trade, and reuses the id of another."""
LETTERS: Final = ("[]", "{}", "1", "x", '["F"]', "null", '"')
"""What no entry looks like in an inbox."""
TWO_RUNGS: Final = (bought(), marked("106"))
"""A harvest and a stop move at once."""


def everything_is_written_as_planned(client: Client) -> None:
    rig = Rig(client, **LIVE)
    rig.route(*EVERYTHING)
    loaded, made = rig.plan()
    kinds = Counter(type(row) for row in made.history)
    assert (len(made.intents), len(made.dead_letters), len(made.trades), len(kinds)) == (3, 1, 3, 2)
    client.set(LOCK, HOLDER)
    same("the reply", rig.commit(loaded, made), Committed(0))
    _as_planned(rig, made, 1)
    same("counts", rig.counts(), {"in": 6, "applied": 4, "duplicate": 1, "deadlettered": 1, "intents": 3})
    same("what waits", (client.xlen(INBOX), client.smembers(keys.WAITING), client.exists(LOCK)), (0, set(), 0))
    found = invariants.always(invariants.read(client, rig.settings), [FIRST], per_minute=3)
    same("violations", found, [])
    before = rig.snapshot()
    same("the reply to it again", rig.commit(loaded, made), Conflict())
    same("all there is after it again", rig.snapshot(), before)


def what_is_open_adds_up_over_commits(client: Client) -> None:
    rig = Rig(client)
    first = rig.bring(bought(trade_id="t1"), marked("103"))
    _as_planned(rig, first, 1)
    rig.route(marked("104"))
    loaded, made = rig.plan()
    client.set(LOCK, "another's")
    same("the reply", rig.commit(loaded, made), Committed(0))
    same("the lock of another", client.get(LOCK), "another's")
    same("counts", rig.counts(), {"in": 3, "applied": 3})
    same("open", client.smembers(keys.OPEN), {BOOK})
    same("the position", client.hgetall(POSITION), _fields(made, 2))
    same("keys", _owned(client) & {keys.DECISIONS, keys.WINDOW, keys.DEADLETTER, keys.HELD}, set())


def a_plan_from_an_older_version_writes_nothing(client: Client) -> None:
    rig = Rig(client)
    rig.bring(bought())
    rig.route(marked("103"))
    late = rig.plan()
    rig.bring(marked("104"))
    before = rig.snapshot()
    same("the reply", rig.commit(*late), Conflict())
    same("all there is", rig.snapshot(), before)


def a_key_of_another_type_leaves_all_as_it_was(client: Client) -> None:
    rig = Rig(client, **LIVE)
    rig.route(*EVERYTHING)
    loaded, made = rig.plan()
    call = commit.commit_call(loaded, made, rig.settings, HOLDER, NOW)
    for key in [key for key in call.keys[:17] if key != KILL]:
        wrong = client.sadd if key == LOCK else client.set
        kept = client.exists(key) and client.rename(key, "kept")
        wrong(key, "not what it should be")
        before, reply = rig.snapshot(), _failing(rig, loaded, made)
        same(f"the reply with a wrong {key}", reply, f"WRONGTYPE {key}")
        same(f"all there is with a wrong {key}", rig.snapshot(), before)
        client.delete(key)
        if kept:
            client.rename("kept", key)
    same("the reply with all right", rig.commit(loaded, made), Committed(0))


def what_no_guard_objects_to_is_committed(client: Client) -> None:
    for set_up, now_ms in _LET_PASS:
        rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="5")
        loaded, made = _three_intents(rig)
        set_up(client, made)
        same(f"the reply after {set_up}", rig.commit(loaded, made, now_ms), Committed(0))


def a_counter_that_is_no_number_leaves_all_as_it_was(client: Client) -> None:
    rig = Rig(client)
    rig.route(*TWO_RUNGS)
    loaded, made = rig.plan()
    for name in ("applied", "duplicate", "deadlettered", "intents"):
        for value in ("", "many", "1.5", "1 ", "-1"):
            client.hset(keys.COUNTS, name, value)
            before, reply = rig.snapshot(), _failing(rig, loaded, made)
            same(f"the reply with {name} at {value!r}", reply, f"NOTANUMBER {keys.COUNTS}")
            same("all there is", rig.snapshot(), before)
        client.hset(keys.COUNTS, name, "12")
    same("the reply with numbers", rig.commit(loaded, made), Committed(0))
    same("counts", rig.counts(), {"in": 2, "applied": 14, "duplicate": 12, "deadlettered": 12, "intents": 14})


def a_command_that_is_not_allowed_leaves_all_as_it_was(client: Client) -> None:
    rig, (loaded, made) = _one_of_each(client)
    out = commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys[DEDUP_KEY]
    trades, before_them = keys.trades(BOOK, 0), keys.trades(BOOK, -1)
    needed = {
        POSITION: ["HSET", "HINCRBY"],
        keys.OPEN: ["SADD"],
        trades: ["HSET", "HLEN"],
        before_them: ["UNLINK"],
        keys.WINDOW: ["LINDEX", "LSET", "LPUSH", "LTRIM"],
        out: ["SET"],
        SHADOW_STREAM: ["XADD"],
        keys.COUNTS: ["HINCRBY"],
        keys.DECISIONS: ["XADD"],
        keys.DEADLETTER: ["XADD"],
        keys.history(BOOK): ["LPUSH", "LTRIM"],
        keys.HELD: ["ZREM"],
        INBOX: ["XTRIM", "XLEN"],
        keys.WAITING: ["SREM"],
        LOCK: ["GET", "DEL"],
    }
    for key, commands in needed.items():
        for command in commands:
            before = rig.snapshot()
            with rig.without(command, key):
                reply = _failing(rig, loaded, made)
            same(f"the reply without {command} {key}", reply, f"NOPERM {command} {key}")
            same("all there is", rig.snapshot(), before)


def what_goes_live_and_what_closes_need_their_own(client: Client) -> None:
    rig = Rig(client, **LIVE)
    rig.route(*EVERYTHING)
    loaded, made = rig.plan()
    rig.know(commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys)
    lifecycles = keys.lifecycles(BOOK)
    for command, key in (("XADD", LIVE_STREAM), ("XADD", SHADOW_STREAM), ("LPUSH", lifecycles), ("LTRIM", lifecycles)):
        with rig.without(command, key):
            same(f"the reply without {command} {key}", _failing(rig, loaded, made), f"NOPERM {command} {key}")


def only_what_a_plan_needs_must_be_allowed(client: Client) -> None:
    for entries, unneeded in _UNNEEDED:
        rig = Rig(client)
        rig.route(*entries)
        loaded, made = rig.plan()
        rig.know(commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys)
        command, key = unneeded
        with rig.without(command, key):
            same(f"the reply without {command} {key}", rig.commit(loaded, made), Committed(0))


def a_single_record_needs_its_stream(client: Client) -> None:
    rig = Rig(client, HARVEST_SET_BE_AT_R="100")
    rig.route(*TWO_RUNGS)
    loaded, made = rig.plan()
    same("records", len(made.journal), 1)
    rig.know(commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys)
    with rig.without("XADD", keys.DECISIONS):
        same("the reply", _failing(rig, loaded, made), f"NOPERM XADD {keys.DECISIONS}")


def what_is_held_back_and_what_closes_need_their_sets(client: Client) -> None:
    rig = Rig(client)
    client.set(KILL, "1")
    rig.route(*TWO_RUNGS)
    loaded, made = rig.plan()
    rig.know(commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys)
    with rig.without("ZADD", keys.HELD):
        same("the reply to what is held back", _failing(rig, loaded, made), f"NOPERM ZADD {keys.HELD}")
    rig = Rig(client)
    rig.route(bought(), sold("1", "101"))
    loaded, made = rig.plan()
    rig.know(commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys)
    with rig.without("SREM", keys.OPEN):
        same("the reply to what closes", _failing(rig, loaded, made), f"NOPERM SREM {keys.OPEN}")


def _one_of_each(client: Client) -> tuple[Rig, tuple[LoadedBook, Plan]]:
    """A plan with one trade, one intent, one row and one letter."""
    rig = Rig(client, HARVEST_SET_BE_AT_R="100")
    rig.route(bought(trade_id="t1"), marked("106"), bought("2", trade_id="t1"))
    loaded, made = rig.plan()
    same("one of each", [*map(len, (made.trades, made.intents, made.history, made.dead_letters))], [1, 1, 1, 1])
    rig.know(commit.commit_call(loaded, made, rig.settings, HOLDER, NOW).keys)
    return rig, (loaded, made)


_PLAIN: Final = (bought(), marked("103"))
_UNNEEDED: Final = (
    (_PLAIN, ("HSET", keys.trades(BOOK, 0))),
    (_PLAIN, ("LPUSH", keys.WINDOW)),
    (_PLAIN, ("XADD", keys.DECISIONS)),
    (_PLAIN, ("LPUSH", keys.history(BOOK))),
    (_PLAIN, ("XADD", keys.DEADLETTER)),
)
"""Entries, and what nobody has to be allowed for their sake."""


def times_ahead_of_the_clock_count_as_now(client: Client) -> None:
    rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="9")
    for ahead in ([NOW + 5_000, NOW + 1, NOW, NOW - 7], [NOW + 3, NOW + 2, NOW + 1], [NOW + 1, NOW - 7], [NOW]):
        client.delete(keys.WINDOW)
        client.rpush(keys.WINDOW, *ahead)
        rig.bring(marked("103"))
        stamps = [int(stamp) for stamp in client.lrange(keys.WINDOW, 0, -1)]
        same(f"the window after {ahead}", stamps, [min(each, NOW) for each in ahead])


def each_guard_is_asked_at_the_commit(client: Client) -> None:
    rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="5")
    loaded, made = _three_intents(rig)
    dedup = [keys.dedup(intent.position_id, intent.action) for intent, _ in made.intents]
    for set_up, now_ms, killed, budget, out in _HELD_BACK:
        set_up(client, made)
        before = rig.snapshot()
        ids = frozenset(made.intents[n][0].intent_id for n in out)
        revise = Revise(Guards(now_ms, FRESH_MS, killed, budget, ids), {})
        same(f"the reply after {set_up}", rig.commit(loaded, made, now_ms), revise)
        same("all there is", rig.snapshot(), before)
        client.delete(KILL, keys.WINDOW, *dedup)


def _three_intents(rig: Rig) -> tuple[LoadedBook, Plan]:
    """Of prices a second apart."""
    rig.route(*TWO_RUNGS)
    rig.route(marked("111"), gap_ms=1_000)
    loaded, made = rig.plan(NOW + 1_002)
    same("how many intents are due", [intent.time_ms - NOW for intent, _ in made.intents], [2, 2, 1_002])
    return loaded, made


def _nothing(_: Client, __: Plan) -> None:
    """As it was when it was planned."""


def _kill(value: str, client: Client, _: Plan) -> None:
    client.set(KILL, value)


def _kill_by_hash(client: Client, _: Plan) -> None:
    client.hset(KILL, "0", "0")


def _sent(ages_ms: Sequence[int], client: Client, _: Plan) -> None:
    """Intents that went out so long before; the newest first."""
    client.rpush(keys.WINDOW, *(NOW + 1_002 - age for age in ages_ms))


def _marked_as_out(n: int, client: Client, made: Plan) -> None:
    intent, _ = made.intents[n]
    client.set(keys.dedup(intent.position_id, intent.action), "x")


Change = Callable[[Client, Plan], None]
_AT: Final = NOW + 1_002
_LET_PASS: Final[Sequence[tuple[Change, int]]] = (
    (_nothing, _AT),
    (partial(_kill, ""), _AT),
    (partial(_kill, "0"), _AT),
    # The oldest price is just fresh, and the newest just not from the future.
    (_nothing, NOW + 2 + FRESH_MS - 1),
    (_nothing, _AT - 2_000),
    (partial(_sent, [59_999] * 2), _AT),
    (partial(_sent, [60_000] * 3), _AT),
    (partial(_sent, [-5, 0, 60_000, 60_001]), _AT),
)
"""What changes between plan and commit, and when that is."""
_HELD_BACK: Final[Sequence[tuple[Change, int, bool, int, Sequence[int]]]] = (
    (partial(_kill, "1"), _AT, True, 5, ()),
    (partial(_kill, "00"), _AT, True, 5, ()),
    (_kill_by_hash, _AT, True, 5, ()),
    (_nothing, NOW + 2 + FRESH_MS, False, 5, ()),
    (_nothing, _AT - 2_001, False, 5, ()),
    (partial(_sent, [59_999] * 3), _AT, False, 2, ()),
    (partial(_sent, [0] * 3), _AT, False, 2, ()),
    (partial(_sent, [0, 0, 0, 0, 59_999]), _AT, False, 0, ()),
    (partial(_sent, [0, 59_999, 59_999, 60_000, 60_001]), _AT, False, 2, ()),
    # After a time with a higher limit.
    (partial(_sent, [0] * 7), _AT, False, 0, ()),
    (partial(_marked_as_out, 0), _AT, False, 5, [0]),
    (partial(_marked_as_out, 1), _AT, False, 5, [1]),
    (partial(_marked_as_out, 2), _AT, False, 5, [2]),
)
"""The same, and what the plan must assume instead: the switch, the budget, and which of its intents are out."""


def a_single_intent_is_guarded_like_many(client: Client) -> None:
    rig = Rig(client, HARVEST_SET_BE_AT_R="100")
    rig.route(*TWO_RUNGS)
    loaded, made = rig.plan()
    same("intents", len(made.intents), 1)
    client.set(KILL, "1")
    before = rig.snapshot()
    same("the reply", rig.commit(loaded, made), Revise(Guards(NOW, FRESH_MS, True, 1000), {}))
    same("all there is", rig.snapshot(), before)


def the_minute_is_remembered_and_no_more(client: Client) -> None:
    rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="5")
    loaded, made = _three_intents(rig)
    client.rpush(keys.WINDOW, *(NOW - 100_000 for _ in range(5)))
    same("the reply", rig.commit(loaded, made, _AT), Committed(0))
    same("the window", client.lrange(keys.WINDOW, 0, -1), [f"{_AT}"] * 3 + [f"{NOW - 100_000}"] * 2)
    for intent, _ in made.intents:
        key = keys.dedup(intent.position_id, intent.action)
        same("the dedup key", client.get(key), intent.intent_id)
        assert DEDUP_TTL_SEC - 60 < client.ttl(key) <= DEDUP_TTL_SEC, client.ttl(key)


def as_many_as_a_minute_allows_need_an_empty_one(client: Client) -> None:
    for allowed, ages_ms, left in ((3, [60_000], None), (3, [59_999], 2), (2, [60_000], 2), (2, [59_999], 1)):
        rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="5")
        loaded, made = _three_intents(rig)
        # Since it was planned, the limit was lowered.
        rig.settings = rig.settings.model_copy(update={"harvest_max_actions_per_min": allowed})
        _sent(ages_ms, client, made)
        reply = Committed(0) if left is None else Revise(Guards(_AT, FRESH_MS, False, left), {})
        same(f"the reply at {allowed} after {ages_ms}", rig.commit(loaded, made, _AT), reply)


def without_intents_no_guard_holds_a_position_back(client: Client) -> None:
    rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="5")
    client.set(KILL, "1")
    client.rpush(keys.WINDOW, *([NOW] * 7))
    rig.bring(bought(), marked("103"), now_ms=NOW + 100_000)
    same("counts", rig.counts(), {"in": 2, "applied": 2})


def a_trade_of_either_generation_is_known(client: Client) -> None:
    for generation, killed in ((0, True), (-1, False)):
        rig = Rig(client, HARVEST_MAX_ACTIONS_PER_MIN="5")
        client.hset(keys.trades(BOOK, generation), mapping={"t2": "its digest", "t4": "not asked for"})
        client.set(KILL, "1" if killed else "0")
        client.rpush(keys.WINDOW, NOW, NOW)
        rig.route(bought(trade_id="t1"), bought(trade_id="t2"), bought(trade_id="t3"))
        loaded, made = rig.plan()
        before, guards = rig.snapshot(), Guards(NOW, FRESH_MS, killed, 3)
        expected = Revise(guards, {"t2": "its digest"})
        same(f"the reply by generation {generation}", rig.commit(loaded, made), expected)
        same("all there is", rig.snapshot(), before)
    client.hset(keys.trades(BOOK, 0), mapping={"t1": "older", "t3": "old"})
    both = {"t1": "older", "t2": "its digest", "t3": "old"}
    same("the reply by both", rig.commit(loaded, made), Revise(guards, both))


def a_trade_that_comes_alone_is_known(client: Client) -> None:
    rig = Rig(client)
    client.hset(keys.trades(BOOK, 0), "t1", "its digest")
    rig.route(bought(trade_id="t1"))
    expected = Revise(Guards(NOW, FRESH_MS, False, 1000), {"t1": "its digest"})
    same("the reply", rig.commit(*rig.plan()), expected)


def trade_ids_are_kept_for_two_generations(client: Client) -> None:
    with patch.object(commit, "TRADES_PER_GENERATION", 2):
        rig = Rig(client)
        stages: Iterator[set[str]] = iter([{"0"}, {"0"}, {"0", "1"}, {"1"}, {"1", "2"}])
        for n in range(5):
            rig.bring(bought(trade_id=f"t{n}"))
            found = {key.rpartition(":")[2] for key in client.keys(keys.trades(BOOK, 0)[:-1] + "*")}
            same(f"generations after trade {n}", found, next(stages))
        same("trades of the newest", set(client.hgetall(keys.trades(BOOK, 2))), {"t4"})
        same("trades of the one before", set(client.hgetall(keys.trades(BOOK, 1))), {"t2", "t3"})
        same("their number", client.hget(POSITION, "trades_generation"), "2")
        rig.bring(marked("103"))
        same("their number after a price", client.hget(POSITION, "trades_generation"), "2")


def what_was_consumed_goes_and_nothing_else(client: Client) -> None:
    with patch.object(ledger, "BATCH", 2):
        rig = Rig(client)
        rig.route(bought(), marked("101"), marked("102"), marked("103"), marked("104"))
        packed, ids = rig.inbox(BOOK), [entry_id for entry_id, _ in client.xrange(INBOX)]
        same("entries of one millisecond", len({entry_id.partition("-")[0] for entry_id in ids}), 1)
        for left in (3, 1, 0):
            same("the reply", rig.commit(*rig.plan()), Committed(left))
            same("the inbox", rig.inbox(BOOK), packed[5 - left :])
            same("who waits", client.smembers(keys.WAITING), {BOOK} if left else set())
    same("counts", rig.counts(), {"in": 5, "applied": 5})


def what_is_held_back_is_looked_at_again(client: Client) -> None:
    rig = Rig(client)
    client.set(KILL, "1")
    same("held back", len(rig.bring(*TWO_RUNGS, now_ms=NOW).journal), 2)
    # Ends with the price's freshness.
    same("until when to look", client.zscore(keys.HELD, BOOK), NOW + 2 + FRESH_MS)
    client.delete(KILL)
    client.hset(keys.trades(BOOK, 0), "t9", "of a fill before")
    loaded, made = rig.plan()
    same("nothing was consumed", (made.consumed, len(made.intents)), ("", 2))
    same("the reply", rig.commit(loaded, made), Committed(0))
    same("when to look again", client.zscore(keys.HELD, BOOK), None)
    same("counts", rig.counts(), {"in": 2, "applied": 2, "intents": 2})
    same("the position", client.hgetall(POSITION), _fields(made, 2))
    same("what is out", _out(client, SHADOW_STREAM), [intent.intent_id for intent, _ in made.intents])


def nothing_grows_for_ever(client: Client) -> None:
    """Each stream keeps as many as is said, each list of rows, too."""
    kept: dict[str, Any] = {"OUT_MAXLEN": 4, "DECISIONS_MAXLEN": 6, "DEADLETTER_MAXLEN": 8, "ROWS_KEPT": 3}
    size = nodes(client, 1)
    with patch.multiple(commit, **kept):
        rig = Rig(client, **LIVE)
        streams = {LIVE_STREAM: 4, SHADOW_STREAM: 4, keys.DECISIONS: 6, keys.DEADLETTER: 8}
        for key in streams:
            for _ in range(12):
                client.xadd(key, {"old": "1"})
        for key in (keys.history(BOOK), keys.lifecycles(BOOK)):
            client.rpush(key, *("old" for _ in range(5)))
        rig.bring(*EVERYTHING)
        same("lengths", {key: client.xlen(key) for key in streams}, streams)
        for key in (keys.history(BOOK), keys.lifecycles(BOOK)):
            same(f"rows of {key}", (client.llen(key), client.lrange(key, 1, -1)), (3, ["old", "old"]))
    nodes(client, size)


def newest_rows_come_first(client: Client) -> None:
    rig = Rig(client)
    made = [rig.bring(*[bought(), sold("1", "102")] * lifecycles) for lifecycles in (1, 3)]
    rows = [row_json(row) for each in made for row in each.history]
    same("lifecycles", len(rows), 4)
    same("rows", client.lrange(keys.lifecycles(BOOK), 0, -1), rows[::-1])
    same("open", client.smembers(keys.OPEN), set())


def every_letter_has_its_own_words(client: Client) -> None:
    rig = Rig(client)
    rig.bring(bought(trade_id="t1"), bought("2", trade_id="t1"))
    for text in LETTERS:
        client.xadd(INBOX, {"e": text})
    client.xadd(INBOX, {"e": inbox_entry.pack(Freeze("", NOW, "said"))})
    loaded, made = rig.plan()
    same("the reply", rig.commit(loaded, made), Committed(0))
    same("the newest letters", _letters(client)[1:], [_letter(letter) for letter in made.dead_letters])
    same("counts", rig.counts(), {"in": 2, "applied": 2, "deadlettered": 8})


def the_servers_clock_decides(client: Client) -> None:
    """To the millisecond, asked where in a second a wrong one shows."""
    rig = Rig(client)
    rig.route(*TWO_RUNGS)
    loaded, made = rig.plan()
    client.set(KILL, "1")
    call = commit.commit_call(loaded, made, rig.settings, HOLDER, None)
    rig.commit(loaded, made, None)
    _, micros = client.time()
    sleep(max(0, LATE_MICROS - micros) / 1e6)
    for _ in range(CLOCK_LOOKS):
        with client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.execute_command("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)
            pipe.time()
            before, (kind, now_ms, *_), after = pipe.execute()
        same("the reply", kind, "revise")
        assert _ms(before) <= now_ms <= _ms(after), (before, now_ms, after)


COMMIT: Final = (
    everything_is_written_as_planned,
    each_guard_is_asked_at_the_commit,
    what_no_guard_objects_to_is_committed,
    a_single_intent_is_guarded_like_many,
    what_is_open_adds_up_over_commits,
    a_trade_of_either_generation_is_known,
    a_trade_that_comes_alone_is_known,
    what_was_consumed_goes_and_nothing_else,
    what_is_held_back_is_looked_at_again,
    a_plan_from_an_older_version_writes_nothing,
    the_minute_is_remembered_and_no_more,
    as_many_as_a_minute_allows_need_an_empty_one,
    without_intents_no_guard_holds_a_position_back,
    trade_ids_are_kept_for_two_generations,
    newest_rows_come_first,
    every_letter_has_its_own_words,
    nothing_grows_for_ever,
    a_key_of_another_type_leaves_all_as_it_was,
    a_counter_that_is_no_number_leaves_all_as_it_was,
    a_command_that_is_not_allowed_leaves_all_as_it_was,
    what_goes_live_and_what_closes_need_their_own,
    only_what_a_plan_needs_must_be_allowed,
    a_single_record_needs_its_stream,
    what_is_held_back_and_what_closes_need_their_sets,
    times_ahead_of_the_clock_count_as_now,
    the_servers_clock_decides,
)


def same(what: str, found: object, expected: object) -> None:
    """Raises AssertionError unless they are."""
    assert found == expected, f"{what}: {found!r}, not {expected!r}"


def _as_planned(rig: Rig, made: Plan, version: int) -> None:
    """All that a plan says, of a book that had nothing before."""
    client = rig.client
    same("the position", client.hgetall(POSITION), _fields(made, version))
    same("trades", client.hgetall(keys.trades(BOOK, 0)), made.trades)
    same("open", client.smembers(keys.OPEN), {BOOK} if made.position.is_open else set())
    same("the journal", [fields for _, fields in client.xrange(keys.DECISIONS)], made.journal)
    same("letters", _letters(client), [_letter(letter) for letter in made.dead_letters])
    same("the window", client.lrange(keys.WINDOW, 0, -1), [f"{NOW}"] * len(made.intents))
    for key, kind in ((keys.history(BOOK), True), (keys.lifecycles(BOOK), False)):
        rows = [row_json(row) for row in made.history if isinstance(row, HarvestRow) is kind]
        same(f"rows of {key}", client.lrange(key, 0, -1), rows[::-1])
    for stream, live in ((LIVE_STREAM, True), (SHADOW_STREAM, False)):
        ids = [intent.intent_id for intent, _ in made.intents if _is_live(rig, intent) is live]
        same(f"what is in {stream}", _out(client, stream), ids)
    for _, fields in [*client.xrange(LIVE_STREAM), *client.xrange(SHADOW_STREAM)]:
        _as_its_payload(fields)


def _as_its_payload(fields: Any) -> None:
    same("fields of an intent", set(fields), {"payload", "intent_id", "symbol", "intent_type"})
    for name in ("intent_id", "symbol", "intent_type"):
        assert f'"{name}":"{fields[name]}"' in fields["payload"], fields


def _is_live(rig: Rig, intent: Any) -> bool:
    return rig.settings.is_live and intent.stop_price is None


def _fields(made: Plan, version: int) -> dict[str, str]:
    return {**position_fields(made.position), "version": str(version)}


def _out(client: Client, stream: str) -> list[str]:
    return [fields["intent_id"] for _, fields in client.xrange(stream)]


def _letters(client: Client) -> list[dict[str, str]]:
    return [fields for _, fields in client.xrange(keys.DEADLETTER)]


def _letter(letter: Any) -> dict[str, str]:
    names = ("reason", "source_id", "sha256", "size", "head")
    return {name: str(getattr(letter, name)) for name in names}


def _failing(rig: Rig, loaded: LoadedBook, made: Plan) -> str:
    try:
        outcome = commit.commit_outcome(loaded, made, rig.say(loaded, made))
    except Exception as error:  # noqa: BLE001 - what it says is what is looked at
        return said(error)
    return said(outcome.error) if isinstance(outcome, FailedBook) else repr(outcome)


def _owned(client: Client) -> set[str]:
    return set(client.keys())


def _ms(time: tuple[int, int]) -> int:
    seconds, micros = time
    return seconds * 1000 + micros // 1000


def nodes(client: Client, entries: int) -> int:
    """How many entries share a node of a stream: a stream is trimmed by whole nodes. What it was before."""
    before = int(client.config_get("stream-node-max-entries")["stream-node-max-entries"])
    client.config_set("stream-node-max-entries", entries)
    return before
