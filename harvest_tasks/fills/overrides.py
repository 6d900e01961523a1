"""The rules that a desk sets for one symbol: parses the hash `quantum:config:harvest:<SYMBOL>`.

What always holds:
1. Each field of the hash is either used or refused with a reason; a refused field changes no rule.
2. A field is parsed like the setting that it replaces, so both allow the same, up to `LONGEST_TEXT`.
3. A ladder that has a rung still has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from harvest_tasks.settings import readers, variables
from harvest_tasks.settings.model import Settings
from kernel.positions.ladder import Ladder
from kernel.positions.rules import Rules

SETTING_OF: Final = {
    "ladder": "harvest_ladder",
    "min_r": "harvest_min_r",
    "set_be_at_r": "harvest_set_be_at_r",
    "trail_atr_mult": "harvest_trail_atr_mult",
}
"""The fields that may be set, in the order in which they are listed, and the setting that each replaces."""

LONGEST_TEXT: Final = 1_000
"""Most characters of one field: the size of an environment variable is bounded, that of a Redis value is not."""
LONGEST_LINE: Final = 400
_LONGEST_VALUE: Final = 160
"""Characters of one value in the line, so that a long ladder does not hide the others."""
_MOST_UNKNOWN: Final = 3
"""Unknown fields that are named; the others are counted."""

_READERS: Final = {name: readers.reader_of(Settings.model_fields[setting]) for name, setting in SETTING_OF.items()}


@dataclass(slots=True)
class _Overrides:
    """The texts of the known fields; the `values` read from them, or error lines of those `refused`. All by field."""

    texts: Mapping[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def refuse(self, name: str, why: str) -> None:
        self.values.pop(name, None)
        self.refused[name] = variables.error_line(name, self.texts[name], why)


def with_overrides(rules: Rules, default_min_r: Decimal, full_ladder: Ladder, fields: Mapping[str, str]) -> Rules:
    """`rules` with the symbol's own values. Its `overrides` is one printable line that lists them and what was refused;
    empty for an empty hash.

    `full_ladder` is the deployment's before its rungs under `default_min_r` are cut; at least one is above that.
    """
    parsed = _parsed({name: fields[name] for name in SETTING_OF if name in fields})
    ladder = _ladder_of(parsed, default_min_r, full_ladder)
    return replace(
        rules,
        ladder=ladder,
        set_be_at_r=parsed.values.get("set_be_at_r", rules.set_be_at_r),
        trail_atr_mult=parsed.values.get("trail_atr_mult", rules.trail_atr_mult),
        overrides=_summary_line(parsed, sorted(fields.keys() - SETTING_OF.keys())),
    )


def with_refused_key(rules: Rules, key: str) -> Rules:
    """`rules`, whose `overrides` reports that `key` is not a hash."""
    return replace(rules, overrides=_shortened(f"refused {key}: is not a hash", LONGEST_LINE))


def _parsed(texts: Mapping[str, str]) -> _Overrides:
    """The fields in `texts`, each parsed by itself."""
    parsed = _Overrides(texts, refused=variables.damaged_lines(texts))
    for name in texts:
        if name not in parsed.refused:
            _parse_field(parsed, name)
    return parsed


def _parse_field(parsed: _Overrides, name: str) -> None:
    text = parsed.texts[name]
    if len(text) > LONGEST_TEXT:
        parsed.refuse(name, f"is over {LONGEST_TEXT} characters")
        return
    try:
        parsed.values[name] = _READERS[name](text)
    except ValueError as error:
        parsed.refuse(name, str(error))


def _ladder_of(parsed: _Overrides, default_min_r: Decimal, full_ladder: Ladder) -> Ladder:
    """The ladder without the rungs under `min_r`. Refuses `min_r`, and then `ladder`, when none would be left."""
    for culprit in ("min_r", "ladder"):
        whole = Ladder(parsed.values.get("ladder", full_ladder.rungs), full_ladder.basis)
        ladder = whole.at_least(parsed.values.get("min_r", default_min_r))
        if ladder.rungs:
            return ladder
        if culprit in parsed.values:
            parsed.refuse(culprit, "leaves no rung")
    return full_ladder.at_least(default_min_r)


def _summary_line(parsed: _Overrides, unknown: list[str]) -> str:
    """The line about the hash; it does not depend on the order of the fields."""
    used = " ".join(
        f"{name}={_shortened(variables.setting_text(parsed.values[name]), _LONGEST_VALUE)}"
        for name in SETTING_OF
        if name in parsed.values
    )
    refused = [f"refused {parsed.refused[name]}" for name in SETTING_OF if name in parsed.refused]
    parts = [*([used] if used else []), *refused, *([_unknown(unknown)] if unknown else [])]
    return _shortened("; ".join(parts), LONGEST_LINE)


def _unknown(unknown: list[str]) -> str:
    named = ", ".join(variables.shown_value("", name) for name in unknown[:_MOST_UNKNOWN])
    more = len(unknown) - _MOST_UNKNOWN
    counted = f" and {more} more" if more > 0 else ""
    return f"refused {named}{counted}: not one of {', '.join(SETTING_OF)}"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
