"""A proof as a page of Markdown, to keep."""

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from harvest_tasks.operations.proof.check import CheckResult, Verdict
from harvest_tasks.proposing.record import utc
from harvest_tasks.settings.model import Settings
from harvest_tasks.settings.redis_url import redacted_url


def summary(results: Sequence[CheckResult]) -> str:
    """`18 of 21 ok, 1 failed, 2 not run`."""
    counts = Counter(result.verdict for result in results)
    others = [f"{counts[verdict]} {verdict}" for verdict in (Verdict.FAILED, Verdict.NOT_RUN) if counts[verdict]]
    return ", ".join([f"{counts[Verdict.OK]} of {len(results)} ok", *others])


def markdown(results: Sequence[CheckResult], settings: Settings, now: float) -> str:
    """The page for a proof that ended at `now` (unix s). It contains no password."""
    return "\n".join(_lines(results, settings, now)) + "\n"


def _lines(results: Sequence[CheckResult], settings: Settings, now: float) -> Iterator[str]:
    yield "# Proof of Harvest"
    yield ""
    server = redacted_url(settings.redis_url)
    yield f"{utc(now)} UTC, version {version('harvest')}, mode {settings.harvest_mode}, {server}:"
    yield f"**{summary(results)}**."
    yield ""
    yield "| what | verdict | seen |"
    yield "|---|---|---|"
    yield from (f"| {e.subject} | {e.verdict} | {_cell(e.seen)} |" for e in results)
    failed = [result for result in results if result.verdict is Verdict.FAILED]
    if failed:
        yield ""
        yield "## What failed, and how to fix it"
        yield ""
        yield from (f"* {e.subject}: {_cell(e.seen)}. Fix: {_cell(e.remedy)}" for e in failed)


def _cell(text: str) -> str:
    return ascii(text)[1:-1].replace("|", "\\|") if not text.isprintable() else text.replace("|", "\\|")
