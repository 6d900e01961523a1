"""The house stays one that a stranger can read: few entries at the top, no private words, one name for one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("harvest_tasks", "kernel", "schedules")
MOST_AT_THE_TOP = 22

REPLACED = (
    *("bells?", "rings?", "ringing", "rang", "doors?", "admissions?", "admit(?:s|ted)?", "grammars?", "answerers?"),
    *("succession", "deposed", "heed(?:s|ed)?", "tell(?:s|ing)?", "told", "take note", "directions"),
    *("readmissions?", "readmit(?:s|ted)?", "sightings?", "sighted", "suspicions?", "suspect(?:s|ed)?"),
    *("crews?", "keepers?", "leash(?:es)?", "stages?", "programmes?", "weather", "tapes?", "boards?"),
    *("unharvested", "exhibits?", "wording", "pulse", "intake", "mend(?:s|ed|ing|able)?", "stolen"),
    *("take(?:s|n)? back", "taking back", "take off this machine", "invent(?:s|ed|ing)?", "foreign record"),
    *("whoever", "as good as none", "what is no", "exhausted", "clamped", "letters?"),
)
"""Private words, each replaced by the field's: bell by wake-up, door by parser, mend by fix, and so on."""
CONTRACTS = (
    r"quantum:[\w.:<>{}*-]+",  # keys
    r"dead[ _-]?letters?|deadletter\w*|\bletter_ids?\b|minutes_on_tape",
    r"dashboards?",
    r"[\"'`=](?:exhausted|clamped)\b|^(?:exhausted|clamped) \d|decision: exhausted",  # reason codes in the journal
)
"""Names that other programs use, and words that only look like private ones."""
_OLD = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(REPLACED)})(?![A-Za-z])", re.IGNORECASE)
_CONTRACT = re.compile("|".join(CONTRACTS), re.IGNORECASE)
_WORDS_OF_A_NAME = re.compile(r"(?<=[a-z])(?=[A-Z])|_")


def old_words(line: str) -> list[str]:
    """Private words in `line`, as words of their own or as parts of a name."""
    return _OLD.findall(_WORDS_OF_A_NAME.sub(" ", _CONTRACT.sub("", line)))


def texts() -> list[str]:
    """Every file of text, but for the laboratory, which may lag, and what speaks of the old words themselves."""
    listed = run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # noqa: S607
    left_out = ("tests/laboratory/", "tests/unit/test_house.py", "docs/lab-notes.md", "CHANGELOG.md")
    return [
        name for name in listed if not name.startswith(left_out) and Path(name).suffix not in (".lock", ".png", ".csv")
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("def ring_the_bell(books):", ["ring", "bell"]),
        ("class BellRinger:", ["Bell"]),
        ("`suspected` in quantum:harvest:suspected", ["suspected"]),
        ("a dead-letter message, and a letter", ["letter"]),
        ("spring, toll, boarding, strings", []),
        ('"exhausted" is a reason code', []),
    ],
)
def test_a_private_word_is_found_and_a_contract_is_not(line: str, found: list[str]) -> None:
    assert old_words(line) == found


@pytest.mark.parametrize("name", texts())
def test_private_words_are_gone(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = {number: words for number, line in enumerate(lines, 1) if (words := old_words(line))}
    assert not found


def test_the_top_of_harvest_tasks_is_small() -> None:
    top = [entry for entry in (ROOT / "harvest_tasks").iterdir() if entry.name not in ("__init__.py", "__pycache__")]
    assert len(top) <= MOST_AT_THE_TOP


def classes() -> Iterator[tuple[str, str]]:
    """Every public class of the product, and where it is defined."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).glob("**/*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    yield node.name, str(path.relative_to(ROOT))


def test_no_public_class_shares_its_name_with_another() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in classes():
        places[name].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
