"""What a decision needs to know of a symbol besides its position: its rules and its ATR."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from time import monotonic
from typing import Any, Final

from harvest_tasks.fills.overrides import with_overrides, with_refused_key
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, Command, PipelinedRead, pairs_to_dict, round_trip, unless_wrong_type
from harvest_tasks.settings.exchange_info import instrument_of
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.numbers import positive_number
from harvest_tasks.wire.refusal import InvalidInput
from kernel.positions.instrument import Instrument
from kernel.positions.ladder import Ladder
from kernel.positions.rules import Rules

CACHE_SEC: Final = 5.0
"""How long a worker may not notice that the rules of a symbol changed."""


def base_rules(settings: Settings) -> Rules:
    """The rules of this deployment for a symbol without rules of its own."""
    return Rules(
        ladder=settings.ladder,
        set_be_at_r=settings.harvest_set_be_at_r,
        trail_atr_mult=settings.harvest_trail_atr_mult,
        min_stop_move_pct=settings.change_eps_pct,
        cost_bps=settings.harvest_cost_bps,
        instrument=Instrument(min_notional=settings.harvest_min_notional),
        max_parts=settings.harvest_max_actions_per_min,
        live=settings.is_live,
    )


@dataclass(frozen=True, slots=True)
class _CachedRules:
    """Rules, and the time at which they were read (seconds of the cache's clock)."""

    rules: Rules
    read_at: float


class SymbolRules:
    """The rules of each symbol, from Redis and the settings, cached for `CACHE_SEC`."""

    def __init__(self, client: Client, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._base = base_rules(settings)
        self._ladder = Ladder(settings.harvest_ladder, settings.harvest_ladder_basis)
        self._cached: dict[str, _CachedRules] = {}
        self._pruned_at = clock()

    def rules(self, symbols: Iterable[str]) -> dict[str, Rules]:
        """The rules of each of `symbols`; at most one round trip. Raises redis-py's errors, except for a key of a
        wrong type.
        """
        missing = self.read(symbols)
        return missing.parse(round_trip(self._client, missing.commands))

    def read(self, symbols: Iterable[str]) -> PipelinedRead[dict[str, Rules]]:
        """A read of the rules of `symbols` that are not cached; it returns those of all of them."""
        wanted = list(dict.fromkeys(symbols))
        now = self._clock()
        missing = [symbol for symbol in wanted if not _is_fresh(self._cached.get(symbol), now)]
        commands: list[Command] = []
        for symbol in missing:
            commands += (
                ("HGET", self._settings.marketstate_prefix + symbol, "atr"),
                ("HGETALL", keys.overrides(symbol)),
            )

        def parse(replies: Sequence[Any]) -> dict[str, Rules]:
            if missing:
                self._cache_rules(missing, [unless_wrong_type(reply) for reply in replies], now)
            return {symbol: self._cached[symbol].rules for symbol in wanted}

        return PipelinedRead(commands, parse)

    def _cache_rules(self, symbols: Sequence[str], replies: Sequence[Any], now: float) -> None:
        self._cached |= {
            symbol: _CachedRules(self._rules(symbol, *replies[i * 2 : i * 2 + 2]), now)
            for i, symbol in enumerate(symbols)
        }
        # Symbols that are no longer asked for must not fill the memory.
        if now - self._pruned_at >= CACHE_SEC:
            self._cached = {symbol: kept for symbol, kept in self._cached.items() if _is_fresh(kept, now)}
            self._pruned_at = now

    def _rules(self, symbol: str, atr: Any, fields: Any) -> Rules:
        """The rules from the replies about one symbol; None stands for a key of another type."""
        settings = self._settings
        instrument = instrument_of(settings.instruments, symbol, settings.harvest_min_notional)
        rules = replace(self._base, instrument=instrument, atr=_atr(atr))
        if fields is None:
            return with_refused_key(rules, keys.overrides(symbol))
        return with_overrides(rules, settings.harvest_min_r, self._ladder, pairs_to_dict(fields)) if fields else rules


def _is_fresh(kept: _CachedRules | None, now: float) -> bool:
    return kept is not None and now - kept.read_at < CACHE_SEC


def _atr(stated: str | None) -> Decimal | None:
    """The ATR, a price difference; None if it is absent or not usable."""
    try:
        return positive_number("atr", stated)
    except InvalidInput:
        return None
