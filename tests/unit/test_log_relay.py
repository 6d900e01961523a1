"""Named log lines on a stream that may not be read."""

import os
import re

from harvest_tasks.processes.log_relay import MAX_LINE_BYTES, LineSplitter, LogRelay


def lines_of(*chunks: bytes) -> list[bytes]:
    seen: list[bytes] = []
    lines = LineSplitter(seen.append)
    for chunk in chunks:
        lines.data_received(chunk)
    lines.connection_lost(None)
    return seen


def test_a_line_is_one_line_however_it_arrives() -> None:
    assert lines_of(b"on", b"e\ntw", b"o\n", b"\nlast") == [b"one", b"two", b"", b"last"]


def test_an_endless_line_is_cut() -> None:
    assert [len(line) for line in lines_of(b"x" * MAX_LINE_BYTES, b"x", b"x\n")] == [MAX_LINE_BYTES + 1, 1]


def test_lines_that_nobody_reads_are_left_out_and_counted() -> None:
    reading, writing = os.pipe()
    relay = LogRelay(writing, name_width=5, held=100)
    for _ in range(1000):
        relay.line("one", b"x" * 1000)
    with os.fdopen(reading, "rb") as log:
        seen = [log.readline() for _ in range(100)]  # at least so many were held, so now there is room again
        relay.line("two", b"again")
        seen += iter(log.readline, b"two   | again\n")
    relay.close()
    os.close(writing)
    notices = [re.fullmatch(rb"\w+ +\| (\d+) log lines dropped: nobody read them\n", line) for line in seen]
    left_out = [int(notice[1]) for notice in notices if notice]
    assert left_out
    assert sum(left_out) + len(seen) - len(left_out) == 1000
