"""What is true of a position and of a proposal: pure functions over frozen values, standard library only.

Two halves that share nothing but their errors:

* Positions, in exact decimals. `apply` folds an entry (`Fill`, `Mark`, `OrderEnded`, ...) into a `Position`, which has
  a `Holding`, a `MarkState` and a `LadderState`. `decide` says which reduce-only `Intent`s are due by the `Rules`, and
  which of them the `Guards` hold back. Nothing else computes a position.
* Proposals, in floats. `compute_harvest_proposal` turns a `PositionSnapshot` and a `MarketState` into a
  `HarvestProposal`: an action, a stop, and the reasons.

The inputs of a proposal, `Ladder` and `Instrument` check their values when they are made, and raise a `KernelError`,
which is a `ValueError`. Entries, `Position`, `Rules`, `Guards` and `Rung` do not: the caller validates what they are
made from, as `harvest_tasks.wire` does.

Nothing here reads a clock, a file, the environment or a network: time is an argument, in unix milliseconds. Quantities
are in base currency, prices and money in quote currency. docs/library.md shows how to use it.
"""

# ruff: noqa: RUF022 - names stand in the order in which a reader meets them

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kernel.errors import InvalidLadder, InvalidNumber, InvalidSide, InvalidTheta, KernelError
    from kernel.positions.decision import Decision, decide
    from kernel.positions.entry import (
        Adopt,
        Entry,
        Fill,
        Freeze,
        Funding,
        Mark,
        OrderEnded,
        OrderEndStatus,
        Overdue,
        Release,
        Side,
    )
    from kernel.positions.guards import Guards, Refusal
    from kernel.positions.holding import Holding, RiskTerms
    from kernel.positions.instrument import Instrument
    from kernel.positions.intent import Intent, IntentKind
    from kernel.positions.ladder import Basis, Ladder, Rung
    from kernel.positions.ladder_state import LadderState
    from kernel.positions.mark import MarkState
    from kernel.positions.position import Position, apply
    from kernel.positions.r_multiple import r_multiple
    from kernel.positions.rules import Rules
    from kernel.proposals.market import MarketState, P1Proposal
    from kernel.proposals.partial_exit import HarvestAction
    from kernel.proposals.proposal import HarvestProposal, ReasonCode, compute_harvest_proposal
    from kernel.proposals.snapshot import PositionSide, PositionSnapshot
    from kernel.proposals.theta import HarvestTheta, LockMode
else:

    def __getattr__(name: str) -> object:
        """Import a name when it is first used: a program that only proposes never loads the code that makes intents."""
        if name in __all__:
            for home in _MODULES:
                found = vars(import_module(home)).get(name)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["apply", "Position", "Holding", "MarkState", "LadderState", "RiskTerms"]
__all__ += ["Entry", "Fill", "Side", "Mark", "OrderEnded", "OrderEndStatus", "Funding"]
__all__ += ["Adopt", "Overdue", "Freeze", "Release"]
__all__ += ["decide", "Decision", "Intent", "IntentKind", "Refusal", "Guards"]
__all__ += ["Rules", "Ladder", "Rung", "Basis", "Instrument", "r_multiple"]
__all__ += ["compute_harvest_proposal", "HarvestProposal", "HarvestAction", "ReasonCode"]
__all__ += ["PositionSnapshot", "PositionSide", "MarketState", "P1Proposal", "HarvestTheta", "LockMode"]
__all__ += ["KernelError", "InvalidNumber", "InvalidLadder", "InvalidSide", "InvalidTheta"]

_MODULES: Final = (
    "kernel.errors",
    "kernel.proposals.proposal",
    "kernel.proposals.snapshot",
    "kernel.proposals.theta",
    "kernel.positions.position",
    "kernel.positions.decision",
    "kernel.positions.entry",
    "kernel.positions.intent",
    "kernel.positions.instrument",
    "kernel.positions.ladder",
    "kernel.positions.r_multiple",
)
"""The modules that define or import these names."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
