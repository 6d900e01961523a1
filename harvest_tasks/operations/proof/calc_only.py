"""Whether proposals are calc-only: by what their code imports, and by what their Redis user may do."""

import ast
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from redis.exceptions import NoPermissionError, ResponseError

from harvest_tasks.operations.diagnosis import listed
from harvest_tasks.operations.proof.check import CheckResult, check_of, fails, not_run, passes
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

_PROPOSALS: Final = ("harvest_tasks.proposals",)
WRITERS: Final = (
    *("harvest_tasks.fills", "harvest_tasks.tasks", "harvest_tasks.reconciling"),
    *("harvest_tasks.simulation", "harvest_tasks.operations"),
    *("kernel.positions.decision", "kernel.positions.harvest", "kernel.positions.stops", "kernel.positions.intent"),
)
"""Modules that make intents or write positions."""
OURS: Final = frozenset({"harvest_tasks", "kernel", "schedules"})
USER: Final = "harvest-proposal"
BOOK: Final = "PROOFUSDT"


@check_of("calc-only code")
def check_code(starts: Sequence[str] = _PROPOSALS) -> CheckResult:
    """Whether `starts` and what they import, directly or not, can make an intent. Reads source; runs none of it."""
    reached = _reached(starts)
    wrong = [f"{module} (by {by})" for module, by in sorted(reached.items()) if _writes(module)]
    if wrong:
        return fails(f"the proposal code imports {listed(wrong)}", "install a release whose `make check` passes")
    return passes(f"none of the {len(reached)} modules that proposals import can make an intent")


@check_of("calc-only rights")
def check_rights(client: Client, settings: Settings) -> CheckResult:
    """Whether the proposal worker's user may write intents or positions, asked by ACL DRYRUN; nothing is written."""
    try:
        allowed = [f"{name} {key}" for name, key, *rest in _forbidden(settings) if _may(client, name, key, *rest)]
    except NoPermissionError:
        return not_run("this user may not run ACL DRYRUN; the operator may")
    except ResponseError as error:
        return not_run(f"{error}: see docs/security.md")
    if allowed:
        remedy = "run systemd/users.sh to make the ACL file, then ACL LOAD"
        return fails(f"{USER} may {listed(allowed)}", remedy)
    return passes(f"{USER} may write no intent, suggestion, position or kill switch")


def _forbidden(settings: Settings) -> Iterator[tuple[str, ...]]:
    for stream in (settings.stream_trade_intent, settings.stream_harvest_suggestions, keys.inbox(BOOK)):
        yield "XADD", stream, "*", "a", "b"
    yield "HSET", keys.position(BOOK), "a", "b"
    yield "SET", settings.harvest_kill_switch_key, "0"
    yield "DEL", settings.stream_execution_result


def _may(client: Client, *command: str) -> bool:
    return bool(client.execute_command("ACL DRYRUN", USER, *command) == "OK")


def _reached(starts: Sequence[str]) -> dict[str, str]:
    """Every module of this project that `starts` import, directly or not, with one that imports it."""
    reached: dict[str, str] = {}
    waiting = [(start, "") for start in starts]
    while waiting:
        module, by = waiting.pop()
        spec = _spec(module)
        if spec is not None and module not in reached:
            reached[module] = by
            waiting += [(name, module) for name in _imported(spec)]
    return reached


def _spec(module: str) -> ModuleSpec | None:
    """None for a name that is no module."""
    try:
        return find_spec(module)
    except ModuleNotFoundError:
        return None


def _imported(spec: ModuleSpec) -> set[str]:
    if spec.origin is None:
        return set()
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return {name for node in ast.walk(tree) for name in _names(node) if name.partition(".")[0] in OURS}


def _names(node: ast.AST) -> Iterator[str]:
    """The names in an import that may be modules; no module of this project imports relatively."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _writes(module: str) -> bool:
    return any(module == writer or module.startswith(f"{writer}.") for writer in WRITERS)
