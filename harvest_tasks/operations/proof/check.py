"""The result of one check, and how checks are written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeVar

from redis.exceptions import ResponseError

from harvest_tasks.operations.diagnosis import FIX_REFUSED, Finding

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`seen` is what was found, or why the check did not run; `remedy` is empty unless it failed."""

    subject: str
    verdict: Verdict
    seen: str
    remedy: str = ""


def passes(seen: str) -> CheckResult:
    return CheckResult("", Verdict.OK, seen)


def fails(seen: str, remedy: str) -> CheckResult:
    return CheckResult("", Verdict.FAILED, seen, remedy)


def not_run(why: str) -> CheckResult:
    return CheckResult("", Verdict.NOT_RUN, why)


def from_findings(found: Iterable[Finding | None], seen: str) -> CheckResult:
    """Fails with the first of the doctor's findings; passes with `seen` if there is none."""
    wrong = next((finding for finding in found if finding), None)
    return passes(seen) if wrong is None else fails(f"{wrong.subject}: {wrong.problem}", wrong.remedy)


def check_of(subject: str) -> Callable[[Callable[_P, CheckResult]], Callable[_P, CheckResult]]:
    """Name what a check is about. A check also fails where the server refuses one of its commands."""

    def named(check: Callable[_P, CheckResult]) -> Callable[_P, CheckResult]:
        @wraps(check)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> CheckResult:
            try:
                result = check(*args, **kwargs)
                return replace(result, subject=subject, seen=result.seen.removeprefix(f"{subject}: "))
            except ResponseError as refused:
                return CheckResult(subject, Verdict.FAILED, f"the server refuses: {refused}", FIX_REFUSED)

        return run

    return named


def refusals(parts: Mapping[str, _T], read: Callable[[_T], object], refused: type[Exception]) -> dict[str, str]:
    """The error message of `read` for each of `parts` that it refuses, by name."""
    messages = {}
    for name, part in parts.items():
        try:
            read(part)
        except refused as error:
            messages[name] = str(error)
    return messages
