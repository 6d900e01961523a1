"""One thing that a proof shows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from redis.exceptions import ResponseError

from harvest_tasks.operations.diagnosis import Finding

NAMED: Final = 3
REFUSED: Final = "load the ACL file again, or delete the key of a wrong type"

P = ParamSpec("P")
T = TypeVar("T")


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """`seen` is what was found, or why nothing was looked for; `remedy` is empty unless it failed."""

    subject: str
    verdict: Verdict
    seen: str
    remedy: str = ""


def holds(seen: str) -> Exhibit:
    return Exhibit("", Verdict.OK, seen)


def fails(seen: str, remedy: str) -> Exhibit:
    return Exhibit("", Verdict.FAILED, seen, remedy)


def not_run(why: str) -> Exhibit:
    return Exhibit("", Verdict.NOT_RUN, why)


def judged(found: Iterable[Finding | None], seen: str) -> Exhibit:
    """Fails with the first of the doctor's findings; holds without one."""
    wrong = next((finding for finding in found if finding), None)
    return holds(seen) if wrong is None else fails(f"{wrong.subject}: {wrong.problem}", wrong.remedy)


def shows(subject: str) -> Callable[[Callable[P, Exhibit]], Callable[P, Exhibit]]:
    """What an exhibit is about; it fails, too, where the server refuses to answer."""

    def about(show: Callable[P, Exhibit]) -> Callable[P, Exhibit]:
        @wraps(show)
        def shown(*args: P.args, **kwargs: P.kwargs) -> Exhibit:
            try:
                exhibit = show(*args, **kwargs)
                return replace(exhibit, subject=subject, seen=exhibit.seen.removeprefix(f"{subject}: "))
            except ResponseError as refused:
                return Exhibit(subject, Verdict.FAILED, f"the server refuses: {refused}", REFUSED)

        return shown

    return about


def listed(texts: Iterable[str], mark: str = ", ") -> str:
    """The first of them, and how many more there are."""
    all_texts = list(texts)
    more = f" and {len(all_texts) - NAMED} more" if len(all_texts) > NAMED else ""
    return mark.join(all_texts[:NAMED]) + more


def refusals(parts: Mapping[str, T], read: Callable[[T], object], refused: type[Exception]) -> dict[str, str]:
    """What `read` says against each of `parts`, by name; nothing of those that it takes."""
    said = {}
    for name, part in parts.items():
        try:
            read(part)
        except refused as error:
            said[name] = str(error)
    return said
