"""A program for tests: supervises the children that its first argument describes as JSON, says "ready" when all run."""

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from harvest_tasks.processes.child import Backoff, Child
from harvest_tasks.processes.log_relay import LogRelay
from harvest_tasks.processes.supervisor import NotReady, Supervisor

NOT_READY = 1
FORCED = 4


def main(described: str) -> int:
    plan = json.loads(described)
    children = [_child(each, plan["stop_within"]) for each in plan["children"]]
    logs = LogRelay(sys.stderr.fileno(), name_width=5, held=plan["held"])
    supervisor = Supervisor(children, logs, Backoff(**plan["backoff"]))
    announce = partial(print, "ready", flush=True)
    try:
        life = supervisor.run(partial(_lack, plan["needs"]), announce, ready_within=plan["ready_within"])
        in_time = asyncio.run(life)
    except NotReady as error:
        sys.stdout.write(f"refused: {error}\n")
        return NOT_READY
    finally:
        logs.close(plan["read_within"])
    return 0 if in_time else FORCED


def _child(described: dict[str, Any], stop_within: float) -> Child:
    missing = partial(_lack, described["needs"]) if "needs" in described else None
    return Child(described["name"], described["argv"], os.environ, missing, stop_within)


def _lack(path: str | None) -> str | None:
    return None if path is None or Path(path).exists() else f"{path} is missing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
