"""All exhibits of one deployment, in the order in which one thing rests on another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harvest_tasks.operations.figures import Figures
from harvest_tasks.proof import calc_only, deployment, outputs, pace, proposing, rehearsal, units
from harvest_tasks.proof.exhibit import Exhibit
from harvest_tasks.proof.proposing import Look
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Case:
    """A deployment to look at: `scrape` says what Prometheus would read now."""

    client: Client
    settings: Settings
    scrape: Callable[[], Figures]


def exhibits(case: Case, before: Figures, seconds: float) -> list[Exhibit]:
    """Watches for `seconds` after the scrape `before`, and reads only."""
    client, settings = case.client, case.settings
    first, began_ms = Look.of(client, settings), server_ms(client)
    watched = pace.watch(client, settings, first.due, seconds)
    after, look = case.scrape(), Look.of(client, settings)
    return [
        calc_only.code(),
        calc_only.rights(client, settings),
        units.active(),
        *deployment.exhibits(after),
        proposing.market_states(look, settings, after),
        proposing.risk_proposals(look, settings),
        proposing.one_cycle(look),
        proposing.published(client, settings, first, look, after),
        pace.kept(watched, settings, before, after),
        outputs.streams(client, settings, after),
        outputs.each_once(client, settings),
        outputs.memory(client, settings),
        outputs.rate(client, settings, began_ms),
        outputs.kill_switch(client, settings, after),
        outputs.errors(client, before, after),
    ]


def rehearsed(settings: Settings, environ: Mapping[str, str], *, active: bool) -> list[Exhibit]:
    """What takes writing: only if `active`, and never among the deployment's keys."""
    if active:
        return rehearsal.exhibits(settings, environ)
    return [rehearsal.left_out("--active turns a kill switch and fires a rung in an empty database")]
