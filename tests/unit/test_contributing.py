"""CONTRIBUTING.md: every path exists, and every name stands in the files that its checklist numbers."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from harvest_tasks.cli import COMMANDS
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import fields
from harvest_tasks.wire.refusal import RefusalReason
from kernel.positions.guards import Refusal
from kernel.proposals.proposal import ReasonCode

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:[\w-]+/)+(?:[\w.-]+)?)`")
NUMBERED = re.compile(r"^\d+\. `([^`]+)`", re.MULTILINE)
ROOMS: Final = ("harvest_tasks", "kernel")

INPUT_FIELDS = {
    *fields.FILL,
    *fields.FILLED_QTY,
    *fields.CUMULATIVE,
    *fields.PLANNED_PRICE,
    *fields.NOTIONAL,
    *fields.MARK,
    *fields.FUNDING,
    *fields.ORDER_ENDED,
}
CHECKLISTS: Final = {
    "Always:": [*Settings.model_fields],
    "For a guard that holds an intent back:": [*Refusal],
    "For an entry that cannot be used:": [*RefusalReason],
    "For a proposal:": [*ReasonCode],
    "Of `execution.result`:": sorted(INPUT_FIELDS),
    "## Add a command": [*COMMANDS],
}


def numbered(heading: str) -> list[str]:
    """The files of the list that follows `heading`."""
    _, _, rest = TEXT.partition(f"\n{heading}\n")
    return NUMBERED.findall(re.split(r"^(?!\d+\. |   ).+", rest.lstrip("\n"), maxsplit=1, flags=re.MULTILINE)[0])


def missing(names: Iterable[str], file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8").lower()
    return [name for name in names if not re.search(rf"\b{re.escape(name.lower())}\b", text)]


def test_every_path_exists() -> None:
    paths = PATH.findall(TEXT)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_map_has_every_room() -> None:
    rooms = {
        f"{top}/{path.name}/" for top in ROOMS for path in (ROOT / top).iterdir() if (path / "__init__.py").is_file()
    }
    assert rooms - set(PATH.findall(TEXT.partition("## Run it")[0])) == set()


@pytest.mark.parametrize("heading", CHECKLISTS)
def test_every_name_stands_in_the_files_of_its_checklist(heading: str) -> None:
    files = numbered(heading)
    assert len(files) >= 2
    assert [(file, name) for file in files for name in missing(CHECKLISTS[heading], file)] == []


def test_a_name_that_is_not_there_is_found() -> None:
    assert missing(["HARVEST_LADER", "harvest_ladder"], "docs/settings.md") == ["HARVEST_LADER"]
    assert numbered("For a proposal:") == ["kernel/proposals/proposal.py", "docs/how-it-works.md"]
