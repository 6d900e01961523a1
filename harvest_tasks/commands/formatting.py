"""Numbers and times as a person reads them. Rounded here and nowhere else: JSON has them exact."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from kernel.positions.quantities import EXACT, plain

PRICE_DIGITS: Final = 10
MONEY_DIGITS: Final = 4
CENT: Final = Decimal("0.01")
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"))


def figure(value: Decimal | None) -> str:
    """A price or a quantity, to 10 significant digits; empty for None."""
    return "" if value is None else plain(_significant(value, PRICE_DIGITS))


def money(value: Decimal) -> str:
    """A signed amount: in cents, or to 4 significant digits below one."""
    if not value:
        return "0"
    rounded = value.quantize(CENT, context=EXACT) if abs(value) >= 1 else _significant(value, MONEY_DIGITS)
    return f"{'+' if value > 0 else ''}{plain(rounded)}"


def cost(value: Decimal) -> str:
    """An amount whose sign is understood: a fee, negative for a rebate."""
    return money(value).removeprefix("+")


def r_text(value: Decimal) -> str:
    """An R multiple with two decimals, cut, not rounded: 0.499 has not reached 0.5."""
    cut = value.quantize(CENT, rounding="ROUND_DOWN", context=EXACT)
    return format(cut if cut else abs(cut), "f")


def score(value: Decimal) -> str:
    """A kill score with three decimals."""
    return format(value.quantize(Decimal("0.001"), context=EXACT), "f")


def percent(ratio: Decimal, *, signed: bool = False) -> str:
    """`2.5 %`: to two decimals."""
    text = plain((ratio * 100).quantize(CENT, context=EXACT))
    return f"{'+' if signed and ratio > 0 else ''}{text} %"


def duration(ms: int) -> str:
    """`3.4 s`, `12 min`, `5 h`, `3 d`: in the largest unit that gives at least 2."""
    for size, unit in _UNITS:
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:.1f} s"


def age(ms: int) -> str:
    """An age, or how far ahead of the clock: `3.4 s`, `1.0 s ahead`."""
    return duration(ms) if ms >= 0 else f"{duration(-ms)} ahead"


def how_old(ms: int) -> str:
    """An age for a sentence: `3.4 s old`, `1.0 s ahead of the clock`."""
    return f"{duration(ms)} old" if ms >= 0 else f"{age(ms)} of the clock"


def moment(unix_ms: int) -> str:
    """`2026-01-23 14:30:01`, UTC."""
    return f"{datetime.fromtimestamp(unix_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def recent(unix_ms: int) -> str:
    """`01-23 14:30:01`, UTC: for recent events."""
    return moment(unix_ms)[5:]


def printable(text: str) -> str:
    """`text` on one line, with control characters made visible."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _significant(value: Decimal, digits: int) -> Decimal:
    return EXACT.quantize(value, Decimal(1).scaleb(min(0, value.adjusted() + 1 - digits))) if value else value
