"""What the documents say: their examples are run, and the commands, settings and places they name exist."""

import doctest
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from harvest_tasks.cli import COMMANDS, main
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.execution_result import Ignored, IgnoredReason, parse
from kernel.positions.intent import IntentKind
from kernel.proposals.partial_exit import HarvestAction

ROOT = Path(__file__).parents[2]
POSITIONS = ROOT / "docs" / "positions.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
LIBRARY = ROOT / "docs" / "library.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", CONTRIBUTING, *DOCS]
EXAMPLES = {POSITIONS: 100, LIBRARY: 20}
"""Pages whose examples are run, with the fewest examples that each has."""
FLOWERS = {"FLOWER_BASIC_AUTH", "FLOWER_UNAUTHENTICATED", "STATE_DIRECTORY"}
OTHER_WORDS = {"REDUCE_ONLY", "HARVEST_PARTIAL", "REDIS_SERVER", *FLOWERS}
"""The types of a harvest intent, live and in shadow mode, and variables that others than the settings read."""

FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
COMMAND = re.compile(r"(?:\S*/)?harvest ([a-z][^#]*)")
CONSTANT = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
TEST = re.compile(r"`((?:unit|integration|e2e|laboratory/tests)/\w+\.py)::(\w+)`")
INCIDENTS = 37
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class Fenced(doctest.DocTestParser):
    """Takes the line that ends a block of code for the end of an example's output, too."""

    def parse(self, string: str, name: str = "<string>") -> list[str | doctest.Example]:
        return super().parse(re.sub(r"^```.*$", "", string, flags=re.MULTILINE), name)


def code(text: str) -> Iterator[str]:
    """Every line of a block of code, and every piece of code in a sentence."""
    for block in FENCED.findall(text):
        yield from block.splitlines()
    for span in SPAN.findall(FENCED.sub("", text)):
        yield " ".join(span.split())


def commands(text: str) -> list[list[str]]:
    """The words after `harvest`, of each command that is named in full."""
    found = (COMMAND.match(piece) for piece in code(text))
    return [match[1].split() for match in found if match]


def unknown_words(words: list[str]) -> list[str]:
    """Of a command's words: what is neither a command, nor a command of it, nor an option of that."""
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        command = command.get_command(context, name)
        if command is None:
            return [name]
    known = {option for parameter in command.get_params(context) for option in parameter.opts} if command else set()
    return [word for word in words if word.startswith("-") and word not in known]


def constants(text: str) -> set[str]:
    """All words in capitals that an underscore joins."""
    return {name for piece in code(text) for name in CONSTANT.findall(piece)}


def is_known(name: str) -> bool:
    """Whether it is a setting, a status of an entry, a type of intent, an action of a proposal, or another such."""
    is_status = parse("1700000000000-0", {"status": name}) != Ignored(IgnoredReason.UNKNOWN_STATUS)
    return name.lower() in Settings.model_fields or is_status or name in {*IntentKind, *HarvestAction, *OTHER_WORDS}


@cache
def functions_of(file: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """What a link can point to on `page`: its headings, as they are spelled in an address."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "fewest"), EXAMPLES.items(), ids=lambda value: getattr(value, "name", ""))
def test_every_example_of_a_page_comes_out_as_printed(page: Path, fewest: int) -> None:
    done = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS, parser=Fenced())
    assert done.failed == 0
    assert done.attempted >= fewest


def test_every_section_of_the_page_on_positions_has_an_example() -> None:
    _, *sections = re.split(r"^## ", POSITIONS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sections
    assert [section.splitlines()[0] for section in sections if ">>> " not in section] == []


@every_page
def test_every_command_a_page_names_exists_with_its_options(page: Path) -> None:
    unknown = [(words, unknown_words(words)) for words in commands(page.read_text(encoding="utf-8"))]
    assert [(words, found) for words, found in unknown if found] == []


def test_every_fix_that_the_product_prints_names_commands_that_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "harvest_tasks").glob("**/*.py"))
    fixes = re.findall(r"Fix: ([^\"\n]*)", text)
    assert len(fixes) >= 10
    assert {name for fix in fixes for name in re.findall(r"\bharvest ([a-z]+)", fix)} <= set(COMMANDS)


@every_page
def test_every_setting_a_page_names_exists(page: Path) -> None:
    assert [name for name in sorted(constants(page.read_text(encoding="utf-8"))) if not is_known(name)] == []


@every_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for place, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / place if place else page
        if "://" not in place:
            assert target.is_file(), place
            assert not anchor or anchor in anchors(target), anchor


@every_page
def test_every_test_a_page_names_exists(page: Path) -> None:
    named = TEST.findall(page.read_text(encoding="utf-8"))
    assert [(file, test) for file, test in named if test not in functions_of(ROOT / "tests" / file)] == []


def test_each_incident_has_a_row_and_each_row_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)$", (ROOT / "docs" / "incidents.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, INCIDENTS + 1))
    assert [number for number, row in rows if not TEST.search(row)] == []


def test_the_pages_name_commands_and_settings_at_all() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len({words[0] for words in commands(text)} & set(COMMANDS)) >= 10
    assert len({name for name in constants(text) if name.lower() in Settings.model_fields}) >= 15


def test_a_name_that_is_not_there_is_found() -> None:
    text = "Run `harvest relase BOOK`, `harvest kill of` or `harvest history --limt 3` with `HARVEST_LADER`.\n"
    assert [unknown_words(words) for words in commands(text)] == [["relase"], ["of"], ["--limt"]]
    assert [name for name in constants(text) if not is_known(name)] == ["HARVEST_LADER"]


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            found = command.get_command(context, word)
            assert found
            yield from leaves(found, f"{name} {word}")
    else:
        yield name, command


def options(command: click.Command) -> set[str]:
    parameters = command.get_params(click.Context(command))
    names = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("--")} - {"--help"}


def test_the_page_on_commands_has_each_command_with_all_its_options() -> None:
    rows = re.findall(
        r"^\| `(harvest [a-z ]+)` \|.*\|(.*)\|$", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE
    )
    listed = {name: set(SPAN.findall(cell)) for name, cell in rows}
    assert listed == {name: options(command) for name, command in leaves(main, "harvest")}


def test_the_page_on_settings_has_each_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert dict(rows) == {name: value for name, value, _ in Settings().describe()}


def test_the_way_of_a_fill_names_each_file_that_a_fill_meets() -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    section = page.partition("## The way of a fill")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+\.(?:py|lua))`", section))
    fills = {path.name for path in (ROOT / "harvest_tasks" / "fills").iterdir() if path.suffix in (".py", ".lua")}
    assert named == fills - {"__init__.py"}


def test_a_link_leads_from_the_readme_to_every_page() -> None:
    linked = {place for place, _ in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {f"docs/{page.name}" for page in DOCS} - linked == set()


def test_every_picture_of_a_page_exists_and_every_picture_is_on_a_page() -> None:
    shown = {(page.parent / place).resolve() for page in PAGES for place in PICTURE.findall(page.read_text("utf-8"))}
    assert shown == {path for path in (ROOT / "docs" / "img").iterdir() if path.suffix in (".png", ".svg")}
