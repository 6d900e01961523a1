"""The laboratory's page names what is there."""

import re
from pathlib import Path

LABORATORY = Path(__file__).parents[1]


def test_the_page_names_every_module_and_no_other() -> None:
    page = (LABORATORY / "README.md").read_text(encoding="utf-8")
    table = page.partition("## What is where")[2].partition("## Add")[0]
    modules = {path.stem for path in LABORATORY.glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", table)) == modules
