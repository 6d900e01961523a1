"""Which configurable key names collide? No two may be equal or overlap, nor may one with a fixed name."""

from collections.abc import Iterator, Mapping
from typing import Final

from harvest_tasks.server import keys

FIXED_KEYS: Final = frozenset(
    value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str) and ":" in value
)
FIXED_FAMILIES: Final = (
    keys.position(""),
    keys.inbox(""),
    keys.lock(""),
    keys.trades("", 0).removesuffix(":0"),
    keys.dedup("", "").removesuffix(":"),
    keys.history(""),
    keys.lifecycles(""),
    keys.overrides(""),
    keys.position_state(""),
    keys.ticker(""),
    keys.market(""),
)
"""The prefix of each kind of key with a fixed name."""


def clashes(names: Mapping[str, str], prefixes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(setting, problem) for each setting whose key (`names`) or keys (`prefixes`) something else uses, too."""
    taken: dict[str, str] = dict.fromkeys(FIXED_KEYS, "a key of Harvest's own")
    for setting, key in names.items():
        if key in taken:
            yield setting, f"is already {taken[key]}"
        taken[key] = setting.upper()
    families: dict[str, str] = dict.fromkeys(FIXED_FAMILIES, "a prefix of keys whose names are fixed")
    for setting, prefix in prefixes.items():
        overlapped = [other for other in families if prefix.startswith(other) or other.startswith(prefix)]
        if overlapped:
            yield setting, f"overlaps {overlapped[0]!r}, {families[overlapped[0]]}"
        families[prefix] = setting.upper()
