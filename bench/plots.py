"""Draws the pictures of `docs/img/` from the data of the growth measurements in `.bench/`: `python -m bench.plots`.

Each picture is stored beside its data, a CSV file of the same name. `--png DIRECTORY` draws bitmaps there instead, to
look at.
"""

import csv
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(".bench")
TARGET: Final = Path("docs/img")
INK: Final = "#333333"
COLOURS: Final = ("#1f5fa8", "#c4602b", "#6b8e23")


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of `columns` (index and label) of a CSV file over its first column."""

    name: str
    title: str
    x: str
    y: str
    columns: tuple[tuple[int, str], ...]
    log: bool = True


COSTS: Final = ((2, "wall time"), (3, "client CPU time"), (4, "server CPU time"))
PICTURES: Final = (
    Picture("growth_backlog", "Cost per entry by backlog (500 books)", "entries in the backlog", "us per entry", COSTS),
    Picture("growth_books", "Cost per entry by books (2 entries each)", "books", "us per entry", COSTS),
    Picture("growth_fills", "Cost per fill in the kernel", "fills of one position", "us per fill", COSTS[:1]),
    Picture("rss_per_worker", "Resident memory of a worker", "entries applied", "MB", ((1, "resident"),), log=False),
)


def main() -> int:
    wanted = [picture for picture in PICTURES if (DATA / f"{picture.name}.csv").exists()]
    if not wanted:
        sys.stderr.write("no data in .bench/. Fix: make bench ONLY=growth_backlog,growth_books,growth_fills\n")
        return 1
    bitmaps = Path(sys.argv[2]) if sys.argv[1:2] == ["--png"] else None
    target = bitmaps or TARGET
    target.mkdir(parents=True, exist_ok=True)
    for picture in wanted:
        source = DATA / f"{picture.name}.csv"
        draw(picture, read(source), target / f"{picture.name}.{'png' if bitmaps else 'svg'}")
        if not bitmaps:
            shutil.copy(source, target / source.name)
    print(f"{len(wanted)} pictures in {target}/")
    return 0


def read(path: Path) -> list[list[float]]:
    """The rows of a CSV file as numbers, without the header."""
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [[float(value) for value in row] for row in rows]


def draw(picture: Picture, rows: Sequence[Sequence[float]], target: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    # Makes the SVG file reproducible.
    mpl.rcParams["svg.hashsalt"] = picture.name
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    for (column, label), colour in zip(picture.columns, COLOURS, strict=False):
        xs, ys = [row[0] for row in rows], [row[column] for row in rows]
        axes.plot(xs, ys, marker="o", markersize=4, linewidth=1.6, color=colour, label=label)
    _dress(axes, picture)
    figure.savefig(target, dpi=130, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)


def _dress(axes: Any, picture: Picture) -> None:
    """Label the axes. The y axis starts at zero, so that flat growth looks flat."""
    if picture.log:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(0, axes.dataLim.ymax * 1.12)
    axes.set_title(picture.title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(picture.x, fontsize=9)
    axes.set_ylabel(picture.y.replace("us", "µs"), fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, which="major", linewidth=0.4, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)
    if len(picture.columns) > 1:
        axes.legend(fontsize=8, frameon=False)


if __name__ == "__main__":
    sys.exit(main())
