"""A proof as a page of Markdown, for whoever asks later what was seen."""

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from harvest_tasks.operations.proof.check import Exhibit, Verdict
from harvest_tasks.proposing.record import utc
from harvest_tasks.settings.model import Settings
from harvest_tasks.settings.redis_url import redacted


def summary(exhibits: Sequence[Exhibit]) -> str:
    """`18 of 21 ok, 1 failed, 2 not run`."""
    counts = Counter(exhibit.verdict for exhibit in exhibits)
    others = [f"{counts[verdict]} {verdict}" for verdict in (Verdict.FAILED, Verdict.NOT_RUN) if counts[verdict]]
    return ", ".join([f"{counts[Verdict.OK]} of {len(exhibits)} ok", *others])


def markdown(exhibits: Sequence[Exhibit], settings: Settings, now: float) -> str:
    """Of a proof that ended at `now` (unix s). Holds no password."""
    return "\n".join(_lines(exhibits, settings, now)) + "\n"


def _lines(exhibits: Sequence[Exhibit], settings: Settings, now: float) -> Iterator[str]:
    yield "# Proof of Harvest"
    yield ""
    yield f"{utc(now)} UTC, version {version('harvest')}, mode {settings.harvest_mode}, {redacted(settings.redis_url)}:"
    yield f"**{summary(exhibits)}**."
    yield ""
    yield "| what | verdict | seen |"
    yield "|---|---|---|"
    yield from (f"| {e.subject} | {e.verdict} | {_cell(e.seen)} |" for e in exhibits)
    failed = [exhibit for exhibit in exhibits if exhibit.verdict is Verdict.FAILED]
    if failed:
        yield ""
        yield "## What failed, and what mends it"
        yield ""
        yield from (f"* {e.subject}: {_cell(e.seen)}. Mend it: {_cell(e.remedy)}" for e in failed)


def _cell(text: str) -> str:
    return ascii(text)[1:-1].replace("|", "\\|") if not text.isprintable() else text.replace("|", "\\|")
