"""All checks of one deployment, causes before consequences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.proof import (
    calc_only,
    deployment,
    intents,
    proposal_rate,
    proposals,
    rehearsal,
    systemd_units,
)
from harvest_tasks.operations.proof.check import CheckResult
from harvest_tasks.operations.proof.proposals import ProposalInputs
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployment to check; `scrape` reads what Prometheus would read now."""

    client: Client
    settings: Settings
    scrape: Callable[[], Scrape]


def read_only_checks(target: Deployment, before: Scrape, seconds: float) -> list[CheckResult]:
    """Checks that only read. Watches for `seconds`; `before` is a scrape from before that."""
    client, settings = target.client, target.settings
    first, began_ms = ProposalInputs.of(client, settings), server_ms(client)
    watched = proposal_rate.watch_proposals(client, settings, first.due, seconds)
    after, current = target.scrape(), ProposalInputs.of(client, settings)
    return [
        calc_only.check_code(),
        calc_only.check_rights(client, settings),
        systemd_units.check_units(),
        *deployment.check_deployment(after),
        proposals.check_market_states(current, settings, after),
        proposals.check_risk_proposals(current, settings),
        proposals.check_one_cycle(current),
        proposals.check_published(client, settings, first, current, after),
        proposal_rate.check_rate(watched, settings, before, after),
        intents.check_output_streams(client, settings, after),
        intents.check_each_once(client, settings),
        intents.check_dedup_and_rungs(client, settings),
        intents.check_rate_limit(client, settings, began_ms),
        intents.check_kill_switch(client, settings, after),
        intents.check_recent_errors(client, before, after),
    ]


def rehearsal_checks(settings: Settings, environ: Mapping[str, str], *, active: bool) -> list[CheckResult]:
    """Checks that write: run only if `active`, and never among the deployment's keys."""
    if active:
        return rehearsal.rehearse(settings, environ)
    return [rehearsal.not_rehearsed("with --active, the real code runs in an empty database")]
