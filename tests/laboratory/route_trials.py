"""What route.lua must do, one promise of its contract a trial: each raises when the script breaks it."""

from collections.abc import Mapping, Sequence
from itertools import count, product
from typing import Any, Final
from unittest.mock import patch

from harvest_tasks.fills.router import (
    WRONG_TYPE,
    LeaseLost,
    Moved,
    OlderPending,
    RouteInstruction,
    Router,
)
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire import inbox_entry
from harvest_tasks.wire.inbox_entry import ADOPTING, LOST_INPUT
from kernel.positions.entry import Freeze
from laboratory import invariants
from laboratory.commit_trials import nodes, same
from laboratory.scenarios import bought, marked, sold
from laboratory.script_rig import HOLDER, LEASE_MS, Rig, said

NO_LETTER: Final = ("", "", "", "")
LETTER: Final = ("why", "its digest", 7, "its head")
REFUSED: Final = ("R", "M", "W")
SHORT_MS: Final = 5_000
LOSS, ADOPTION, REPAIR = (inbox_entry.pack(Freeze("", 0, reason)) for reason in (LOST_INPUT, ADOPTING, WRONG_TYPE))


def each_kind_goes_where_it_should(client: Client) -> None:
    rig = Rig(client)
    client.sadd(keys.BOOKS, "BTCUSDT", "ETHUSDT:LONG", "ETHUSDT:SHORT")
    told = (
        *(("B", "SOLUSDT"), ("K", "BTCUSDT"), ("K", "XRPUSDT"), ("O", "BTCUSDT"), ("O", "DOGEUSDT"), ("S", "ETHUSDT")),
        *(("S", "BTCUSDT"), ("S", "ADAUSDT"), ("I", ""), ("R", "BTCUSDT"), ("R", ""), ("R", "NEWUSDT")),
        *(("M", "ETHUSDT"), ("W", "BADUSDT"), ("B", "SOLUSDT"), ("O", "ETHUSDT:LONG")),
    )
    reply, ids = _told(rig, told, lease_ms=SHORT_MS)
    inboxes = {
        "SOLUSDT": ["p0", "p14"],
        "BTCUSDT": ["p1", "p3", "p6", "p9"],
        "ETHUSDT:LONG": ["p5", "p12", "p15"],
        "ETHUSDT:SHORT": ["p5", "p12"],
        "NEWUSDT": ["p11"],
    }
    order = ["SOLUSDT", "BTCUSDT", "ETHUSDT:LONG", "ETHUSDT:SHORT", "NEWUSDT"]
    same("the reply", reply, ["routed", len(told), *([book] for book in order)])
    same("locks", client.keys(keys.LOCK_PREFIX + "*"), [])
    same("inboxes", _inboxes(rig), inboxes)
    same("who waits", client.smembers(keys.WAITING), set(inboxes))
    same("books", client.smembers(keys.BOOKS), {*inboxes, "BADUSDT"})
    same("broken", client.smembers(keys.BROKEN), {"BADUSDT"})
    same("counts", rig.counts(), {"in": 21, "ignored": 4, "deadlettered": 5})
    same("letters", _letters(client), [_letter(ids[n]) for n in (9, 10, 11, 12, 13)])
    same("pending", client.xpending(rig.source, keys.GROUP)["pending"], 0)
    same("the cursor", client.hgetall(keys.CURSOR), {"id": ids[-1], "read": "77"})
    assert SHORT_MS < client.pttl(keys.LEASE) <= LEASE_MS, client.pttl(keys.LEASE)


def books_that_appear_in_bad_times_are_frozen(client: Client) -> None:
    told = [("B", "NEWUSDT"), ("B", "NEWUSDT"), ("B", "BTCUSDT"), ("R", "OTHERUSDT")]
    for times in ([], [keys.LOST], [keys.ADOPTION], [keys.LOST, keys.ADOPTION]):
        rig = Rig(client)
        client.sadd(keys.BOOKS, "BTCUSDT")
        for key in times:
            client.hset(key, "since_ms", "1")
        freezes = [{keys.LOST: LOSS, keys.ADOPTION: ADOPTION}[key] for key in times]
        _told(rig, told)
        expected = {"NEWUSDT": [*freezes, "p0", "p1"], "BTCUSDT": ["p2"], "OTHERUSDT": [*freezes, "p3"]}
        same(f"inboxes with {times}", _inboxes(rig), expected)
        same("counts", rig.counts(), {"in": 5 + 2 * len(freezes), "deadlettered": 1})


def a_book_whose_inbox_was_broken_is_told_once(client: Client) -> None:
    rig = Rig(client)
    client.sadd(keys.BOOKS, "BTCUSDT", "ETHUSDT")
    client.sadd(keys.BROKEN, "BTCUSDT", "XRPUSDT")
    _told(rig, [("B", "BTCUSDT"), ("B", "BTCUSDT"), ("B", "ETHUSDT")])
    same("inboxes", _inboxes(rig), {"BTCUSDT": [REPAIR, "p0", "p1"], "ETHUSDT": ["p2"]})
    same("broken", client.smembers(keys.BROKEN), {"XRPUSDT"})
    same("counts", rig.counts(), {"in": 4})


def a_key_of_another_type_stops_all(client: Client) -> None:
    rig = Rig(client)
    client.hset(keys.LOST, "since_ms", "1")
    client.sadd(keys.BROKEN, "BTCUSDT")
    ids = rig.read(2)
    told = {ids[0]: _directions("B", "BTCUSDT", 0), ids[1]: _directions("W", "BADUSDT", 1)}
    ours = (keys.DEADLETTER, keys.BOOKS, keys.WAITING, keys.COUNTS, keys.LOST, keys.ADOPTION, keys.CURSOR, keys.BROKEN)
    for key in (keys.LEASE, rig.source, *ours):
        kept = client.exists(key) and client.rename(key, "kept")
        wrong = client.sadd if key == keys.LEASE else client.set
        wrong(key, "not what it should be")
        before, reply = rig.snapshot(), _failing(rig, told)
        same(f"the reply with a wrong {key}", reply, f"WRONGTYPE {key}")
        same(f"all there is with a wrong {key}", rig.snapshot(), before)
        client.delete(key)
        if kept:
            client.rename("kept", key)
    same("the reply with all right", rig.tell(told)[:2], ["routed", 2])


def a_counter_that_is_no_number_stops_all(client: Client) -> None:
    rig = Rig(client)
    (entry_id,) = rig.read(1)
    told = {entry_id: _directions("B", "BTCUSDT", 0)}
    for name in ("in", "ignored", "deadlettered"):
        for value in ("", "many", "1.5", "1 ", "-1"):
            client.hset(keys.COUNTS, name, value)
            before, reply = rig.snapshot(), _failing(rig, told)
            same(f"the reply with {name} at {value!r}", reply, f"NOTANUMBER {keys.COUNTS}")
            same("all there is", rig.snapshot(), before)
        client.hset(keys.COUNTS, name, "12")
    same("the reply with numbers", rig.tell(told), ["routed", 1, ["BTCUSDT"]])
    same("counts", rig.counts(), {"in": 13, "ignored": 12, "deadlettered": 12})


def a_command_that_is_not_allowed_stops_all(client: Client) -> None:
    rig = Rig(client)
    (entry_id,) = rig.read(1)
    told = {entry_id: _directions("B", "BTCUSDT", 0)}
    needed = {
        rig.source: ["XACK"],
        keys.DEADLETTER: ["XADD"],
        keys.INBOX_PREFIX: ["XADD"],
        keys.BOOKS: ["SADD"],
        keys.WAITING: ["SADD"],
        keys.BROKEN: ["SADD", "SREM", "EXISTS"],
        keys.LOST: ["EXISTS"],
        keys.ADOPTION: ["EXISTS"],
        keys.COUNTS: ["HINCRBY"],
        keys.CURSOR: ["HSET"],
        keys.LEASE: ["PEXPIRE"],
    }
    rig.know([*needed, keys.inbox("BTCUSDT")])
    for key, commands in needed.items():
        for command in commands:
            before = rig.snapshot()
            with rig.without(command, key):
                reply = _failing(rig, told)
            same(f"the reply without {command} {key}", reply, f"NOPERM {command} {key}")
            same("all there is", rig.snapshot(), before)


def only_the_holder_of_the_lease_moves(client: Client) -> None:
    for set_up in (lambda: client.set(keys.LEASE, "another's"), lambda: client.delete(keys.LEASE)):
        rig = Rig(client)
        ids = rig.read(1)
        set_up()
        before = rig.snapshot()
        same("the reply", rig.tell({ids[0]: _directions("B", "BTCUSDT", 0)}), ["lease_lost"])
        same("all there is", rig.snapshot(), before)


def what_waits_longest_goes_first(client: Client) -> None:
    rig = Rig(client)
    ids = rig.read(3)
    told = {entry_id: _directions("B", "BTCUSDT", n) for n, entry_id in enumerate(ids)}
    later = {entry_id: told[entry_id] for entry_id in ids[1:]}
    before = rig.snapshot()
    same("the reply to later ones", rig.tell(later), ["older_pending"])
    same("the reply to none", rig.tell({}), ["older_pending"])
    same("all there is", rig.snapshot(), before)
    client.xack(rig.source, keys.GROUP, ids[1])
    same("the reply to all", rig.tell(told)[:2], ["routed", 2])
    same("what was acknowledged before is not moved", _inboxes(rig), {"BTCUSDT": ["p0", "p2"]})
    before = rig.snapshot()
    same("the reply to the same again", rig.tell(told), ["older_pending"])
    same("all there is", rig.snapshot(), before)


def a_symbol_nets_or_has_legs(client: Client) -> None:
    for known, told, mixed in _MODES:
        rig = Rig(client)
        client.sadd(keys.BOOKS, *known, "ZZUSDT")
        ids = rig.read(len(told))
        before = rig.snapshot()
        reply = rig.tell({i: _directions(*each, n) for n, (i, each) in enumerate(zip(ids, told, strict=True))})
        if mixed:
            same(f"the reply to {told} after {known}", reply, ["mixed", *(ids[n] for n in mixed)])
            same("all there is", rig.snapshot(), before)
        else:
            same(f"the reply to {told} after {known}", reply[:2], ["routed", len(told)])


Told = tuple[str, str]
_MODES: Final[Sequence[tuple[Sequence[str], Sequence[Told], Sequence[int]]]] = (
    (["AAUSDT"], [("B", "AAUSDT:LONG"), ("B", "AAUSDT")], [0]),
    (["AAUSDT"], [("B", "ZZUSDT"), ("R", "AAUSDT:SHORT"), ("K", "AAUSDT:LONG")], [1, 2]),
    (["AAUSDT"], [("O", "AAUSDT:LONG"), ("S", "AAUSDT"), ("M", "AAUSDT"), ("I", "")], []),
    (["AAUSDT:LONG"], [("B", "AAUSDT"), ("B", "AAUSDT:SHORT")], [0]),
    (["AAUSDT:SHORT"], [("B", "AAUSDT"), ("B", "AAUSDT:LONG")], [0]),
    (["AAUSDT:SHORT"], [("B", "AAUSDT:SHORT"), ("K", "AAUSDT:SHORT")], []),
    ([], [("B", "AAUSDT:LONG"), ("B", "AAUSDT"), ("B", "AAUSDT:SHORT")], [1]),
    ([], [("B", "AAUSDT"), ("R", "AAUSDT:LONG"), ("B", "AAUSDT")], [1]),
    ([], [("R", "AAUSDT:LONG"), ("K", "AAUSDT"), ("B", "AAUSDT:LONG")], [1]),
    ([], [("K", "AAUSDT"), ("B", "AAUSDT:LONG"), ("R", "")], []),
    ([], [("O", "AAUSDT"), ("W", "AAUSDT"), ("B", "AAUSDT:LONG")], []),
)
"""Books that are known, what comes then, and which of it is of the other mode."""


def a_broken_inbox_stops_what_is_for_it_alone(client: Client) -> None:
    rig = Rig(client)
    client.sadd(keys.BOOKS, "AAUSDT", "BBUSDT:LONG", "BBUSDT:SHORT", "CCUSDT")
    for book in ("AAUSDT", "BBUSDT:LONG", "CCUSDT", ""):
        client.set(keys.inbox(book), "not what it should be")
    ids = rig.read(6)
    before = rig.snapshot()
    for kind, ahead in product(("B", "K", "O", "R"), ("I", "R")):
        told = {i: _directions(*each, 0) for i, each in zip(ids, ((ahead, ""), (kind, "AAUSDT")), strict=False)}
        same(f"the reply to {kind} behind {ahead}", rig.tell(told), ["broken", ids[1]])
        same("all there is", rig.snapshot(), before)
    kinds = (("R", ""), ("S", "BBUSDT"), ("M", "BBUSDT"), ("S", "CCUSDT"), ("W", "AAUSDT"), ("B", "BBUSDT:SHORT"))
    reply = rig.tell({i: _directions(*each, n) for n, (i, each) in enumerate(zip(ids, kinds, strict=True))})
    same("the reply to the others", reply, ["routed", 6, ["BBUSDT:SHORT"]])
    same("the inbox that is whole", rig.inbox("BBUSDT:SHORT"), ["p1", "p2", "p5"])
    same("counts", rig.counts(), {"in": 7, "ignored": 1, "deadlettered": 3})
    same("broken", client.smembers(keys.BROKEN), {"AAUSDT"})


def what_is_to_be_loaded_comes_with_the_reply(client: Client) -> None:
    rig = Rig(client)
    risk = rig.settings.riskproposal_prefix
    client.sadd(keys.BOOKS, "BTCUSDT", "ETHUSDT:LONG", "SOLUSDT", "XRPUSDT")
    client.hset(keys.position("BTCUSDT"), "version", "7")
    client.set(keys.position("XRPUSDT"), "not a hash")
    client.set(keys.lock("SOLUSDT"), "another's")
    client.hset(risk + "BTCUSDT", "stop_dist_pct", "0.01")
    client.hset(risk + "ETHUSDT", "stop_dist_pct", "0.02")
    client.set(risk + "SOLUSDT", "not a hash")
    older, _ = (client.xadd(keys.inbox("BTCUSDT"), {"e": e}, id=f"{n + 1}-0") for n, e in enumerate(("old", "newer")))
    told = [("B", "BTCUSDT"), ("K", "ETHUSDT:LONG"), ("K", "SOLUSDT"), ("K", "XRPUSDT"), ("S", "BTCUSDT")]
    ids = rig.read(len(told))
    loading = ("who", SHORT_MS, keys.LOCK_PREFIX, keys.POSITION_PREFIX, risk, 1)
    reply = rig.tell(
        {i: _directions(*each, n) for n, (i, each) in enumerate(zip(ids, told, strict=True))}, loading=loading
    )
    books = {book: row for book, *row in reply[2:]}
    same("the reply", (reply[:2], sorted(books)), (["routed", 5], ["BTCUSDT", "ETHUSDT:LONG", "SOLUSDT", "XRPUSDT"]))
    same("a book", books["BTCUSDT"], ["OK", ["version", "7"], [[older, ["e", "old"]]], "0.01"])
    same("a leg", [*books["ETHUSDT:LONG"][:2], books["ETHUSDT:LONG"][3]], ["OK", [], "0.02"])
    same("what arrived", books["ETHUSDT:LONG"][2][0][1], ["e", "p1"])
    same("the lock of another", books["SOLUSDT"][0], None)
    wrong = [str(books["SOLUSDT"][3]), str(books["XRPUSDT"][1])]
    assert all("Operation against a key holding the wrong kind" in each for each in wrong), wrong
    same("what is beside it", [books["XRPUSDT"][0], books["XRPUSDT"][3]], ["OK", None])
    same("locks", [client.get(keys.lock(book)) for book in sorted(books)], ["who", "who", "another's", "who"])
    assert 0 < client.pttl(keys.lock("BTCUSDT")) <= SHORT_MS, client.pttl(keys.lock("BTCUSDT"))


def letters_are_not_kept_for_ever(client: Client) -> None:
    size = nodes(client, 1)
    rig = Rig(client)
    with patch("harvest_tasks.fills.router.DEADLETTER_MAXLEN", 4):
        for _ in range(9):
            client.xadd(keys.DEADLETTER, {"old": "1"})
        _told(rig, [("R", ""), ("W", "BADUSDT")])
    same("letters", client.xlen(keys.DEADLETTER), 4)
    nodes(client, size)


def a_batch_is_moved_whole_and_once(client: Client) -> None:
    """By the code that reads and parses, too."""
    rig = Rig(client)
    leg = bought(symbol="ETHUSDT", position_side="LONG")
    rig.feed(bought(), leg, sold("-1", "100"), marked("103"), bought("1", "100", symbol="ETHUSDT"))
    rig.take_lease()
    router = Router(client, rig.settings)
    entries, position = InputStream(client, rig.settings).read()
    moved = router.move(HOLDER, LEASE_MS, entries, position.read_after(len(entries)))
    assert isinstance(moved, Moved), moved
    same("books", (moved.count, sorted(moved.books)), (5, ["BTCUSDT", "ETHUSDT:LONG"]))
    same("letters", [letter["source_id"] for letter in _letters(client)], [entries[2][0], entries[4][0]])
    same("the reply to the same again", router.move(HOLDER, LEASE_MS, entries), OlderPending())
    same("the reply to another", router.move("another's", LEASE_MS, entries), LeaseLost())
    found = invariants.always(invariants.read(client, rig.settings))
    same("violations", found, [])


ROUTE: Final = (
    each_kind_goes_where_it_should,
    a_symbol_nets_or_has_legs,
    a_broken_inbox_stops_what_is_for_it_alone,
    what_waits_longest_goes_first,
    only_the_holder_of_the_lease_moves,
    a_book_whose_inbox_was_broken_is_told_once,
    books_that_appear_in_bad_times_are_frozen,
    a_batch_is_moved_whole_and_once,
    what_is_to_be_loaded_comes_with_the_reply,
    letters_are_not_kept_for_ever,
    a_key_of_another_type_stops_all,
    a_counter_that_is_no_number_stops_all,
    a_command_that_is_not_allowed_stops_all,
)


def _directions(kind: str, target: str, n: int) -> RouteInstruction:
    """Of an entry that is packed as `p<n>`."""
    return (kind, target, f"p{n}", *(LETTER if kind in REFUSED else NO_LETTER))


def _told(rig: Rig, told: Sequence[Told], lease_ms: int = LEASE_MS) -> tuple[list[Any], list[str]]:
    """The reply to a batch of these, and their ids."""
    ids = rig.read(len(told))
    rig.take_lease(lease_ms=lease_ms)
    batch = {i: _directions(*each, n) for i, each, n in zip(ids, told, count(), strict=False)}
    return rig.tell(batch, 77), ids


def _inboxes(rig: Rig) -> dict[str, list[str]]:
    """Those with something in them."""
    books = [key.removeprefix(keys.INBOX_PREFIX) for key in rig.client.keys(keys.INBOX_PREFIX + "*")]
    return {book: rig.inbox(book) for book in books}


def _letters(client: Client) -> list[dict[str, str]]:
    return [fields for _, fields in client.xrange(keys.DEADLETTER)]


def _letter(entry_id: str) -> dict[str, str]:
    reason, sha, size, head = LETTER
    return {"reason": reason, "source_id": entry_id, "sha256": sha, "size": str(size), "head": head}


def _failing(rig: Rig, told: Mapping[str, RouteInstruction]) -> str:
    try:
        return repr(rig.tell(told))
    except Exception as error:  # noqa: BLE001 - what it says is what is looked at
        return said(error)
