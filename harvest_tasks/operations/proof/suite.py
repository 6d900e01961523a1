"""All exhibits of one deployment, in the order in which one thing rests on another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harvest_tasks.operations.figures import Figures
from harvest_tasks.operations.proof import (
    calc_only,
    deployment,
    intents,
    proposal_rate,
    proposals,
    rehearsal,
    systemd_units,
)
from harvest_tasks.operations.proof.check import Exhibit
from harvest_tasks.operations.proof.proposals import Look
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
    watched = proposal_rate.watch(client, settings, first.due, seconds)
    after, look = case.scrape(), Look.of(client, settings)
    return [
        calc_only.code(),
        calc_only.rights(client, settings),
        systemd_units.active(),
        *deployment.exhibits(after),
        proposals.market_states(look, settings, after),
        proposals.risk_proposals(look, settings),
        proposals.one_cycle(look),
        proposals.published(client, settings, first, look, after),
        proposal_rate.kept(watched, settings, before, after),
        intents.streams(client, settings, after),
        intents.each_once(client, settings),
        intents.memory(client, settings),
        intents.rate(client, settings, began_ms),
        intents.kill_switch(client, settings, after),
        intents.errors(client, before, after),
    ]


def rehearsed(settings: Settings, environ: Mapping[str, str], *, active: bool) -> list[Exhibit]:
    """What takes writing: only if `active`, and never among the deployment's keys."""
    if active:
        return rehearsal.exhibits(settings, environ)
    return [rehearsal.left_out("--active turns a kill switch and fires a rung in an empty database")]
