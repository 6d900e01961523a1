"""The maps in the docstrings of packages name what is there, and nothing else."""

import re
from pathlib import Path

import harvest_tasks
from harvest_tasks import fills


def names_in(docstring: str) -> set[str]:
    """What the lines with two columns name on the left."""
    return {name for left in re.findall(r"^(\S.*?)  +\S", docstring, re.MULTILINE) for name in left.split(", ")}


def modules_of(package: Path) -> set[str]:
    files = {file.stem if file.suffix == ".py" else file.name for file in package.iterdir() if file.is_file()}
    rooms = {room.name for room in package.iterdir() if (room / "__init__.py").exists()}
    return {name for name in files | rooms if not name.startswith("_")}


def test_the_way_of_a_fill_lists_every_file_of_fills() -> None:
    assert names_in(fills.__doc__ or "") == modules_of(Path(fills.__file__).parent)


def test_the_map_of_harvest_tasks_lists_every_room() -> None:
    listed = names_in(harvest_tasks.__doc__ or "") - {"A fill:", "A proposal:"}
    assert listed | {"celery"} == modules_of(Path(harvest_tasks.__file__).parent)
