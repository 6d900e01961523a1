"""Alert rules and the dashboard use only metrics that the exporter of a running system reports."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import inputs
import pytest
from desk import Desk
from entries import BUY
from metrics_scrape import Scrape, scraping
from promtool import judged, needs_promtool

from harvest_tasks.cli import COMMANDS
from harvest_tasks.metrics.exporter import Exporter
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.server import liveness
from harvest_tasks.server.client import connect

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "systemd" / "monitoring"
DOCS = ROOT / "docs"

RULE = re.compile(r"^      - alert: (\w+)\n(.*?)(?=^      - alert|^      #|^  - name|\Z)", re.MULTILINE | re.DOTALL)
CASE = re.compile(r"^  - name: (\w+) (fires|stays quiet)\n(.*?)(?=^  - name|\Z)", re.MULTILINE | re.DOTALL)
SELECTOR = re.compile(r"(harvest_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)=(~?)"([^"]*)"')
OF_PROMETHEUS = {"job", "instance", "le"}

RULES = dict(RULE.findall((MONITORING / "alerts.yml").read_text(encoding="utf-8")))
DASHBOARD: Any = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]

every_rule = pytest.mark.parametrize("rule", RULES)


@pytest.fixture(scope="module")
def scrape(server: EmbeddedServer) -> Scrape:
    """A scrape of a system in which a bit of everything has happened."""
    with connect(server.url()) as client, connect(server.url(db=1)) as broker:
        client.flushall()
        desk = Desk(client)
        inputs.market_state(client, ts_timestamp=str(client.time()[0]))
        desk.run(BUY, {**BUY, "symbol": "ETHUSDT"}, {**BUY, "qty": "-1"})
        run_cycle(client, desk.settings, ["BTCUSDT"], client.time()[0])
        liveness.record_start(client, "fills@desk", desk.server_ms())
        return scraping(Exporter(client, broker, desk.settings))()


def unknown(expression: str, scrape: Scrape) -> list[str]:
    """Metrics, labels and label values in an expression that the exporter does not report."""
    missing = []
    for name, matchers in SELECTOR.findall(expression):
        if name not in scrape.names:
            missing.append(name)
            continue
        for label, is_pattern, value in MATCHER.findall(matchers):
            if label not in scrape.labels(name) | OF_PROMETHEUS:
                missing.append(f"{name}{{{label}}}")
            elif not value.startswith("$"):
                wanted = value.split("|") if is_pattern else [value]
                reported = scrape.by(label, name.removeprefix("harvest_"))
                missing += [f"{name}{{{label}={v}}}" for v in wanted if v not in reported]
    return missing


def labels_of(expression: str, scrape: Scrape) -> set[str]:
    return {label for name, _ in SELECTOR.findall(expression) for label in scrape.labels(name)} | OF_PROMETHEUS


def expression(rule: str) -> str:
    found = re.search(r"expr:(.*?)\n        (?:for|labels):", RULES[rule], re.DOTALL)
    assert found
    return found[1]


# rules


def test_the_rules_are_found() -> None:
    assert len(RULES) == (MONITORING / "alerts.yml").read_text(encoding="utf-8").count("- alert:") > 20


@every_rule
def test_a_rule_uses_only_reported_metrics(rule: str, scrape: Scrape) -> None:
    assert unknown(expression(rule), scrape) == []


@every_rule
def test_an_alert_shows_only_labels_of_its_metrics(rule: str, scrape: Scrape) -> None:
    assert set(re.findall(r"\$labels\.(\w+)", RULES[rule])) <= labels_of(expression(rule), scrape)
    assert set(re.findall(r"\w+", " ".join(re.findall(r"(?:by|on) \(([^)]*)\)", expression(rule))))) <= OF_PROMETHEUS


@every_rule
def test_an_alert_says_what_to_do_with_commands_that_exist(rule: str) -> None:
    fix = re.search(r"description: [\"']Fix: (.*)[\"']", RULES[rule])
    assert fix
    assert set(re.findall(r"\bharvest ([a-z]+)", fix[1])) <= set(COMMANDS)
    assert re.search(r"severity: (critical|warning|info)}", RULES[rule])


def test_each_rule_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = CASE.findall((MONITORING / "alerts_test.yml").read_text(encoding="utf-8"))
    assert [(name, word) for name, word, _ in cases] == [(r, word) for r in RULES for word in ("fires", "stays quiet")]
    for name, word, text in cases:
        assert f"alertname: {name}\n" in text
        assert ("exp_alerts: []" in text) == (word == "stays quiet")


@needs_promtool
@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_agrees_with_the_rules(arguments: tuple[str, ...]) -> None:
    code, said = judged(*arguments, at=MONITORING)
    assert code == 0, said


# the pages


def test_the_page_names_every_metric_with_its_labels_and_no_other(scrape: Scrape) -> None:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8").partition("## Metrics")[2]
    reported = {re.sub(r"_(bucket|sum|count)$", "", name): scrape.labels(name) - {"le"} for name in scrape.names}
    named = re.findall(r"`(harvest_\w+)(?:{([^}]*)})?`", page.partition("## Alerts")[0])
    assert {name for name, _ in named} == set(reported)
    assert {name: set(labels.split(",")) for name, labels in named if labels} == {
        n: ls for n, ls in reported.items() if ls
    }


def test_the_pages_name_every_alert_and_no_other() -> None:
    named = re.findall(
        r"^\| `(Harvest\w+)` \| (\w+) \|", (DOCS / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert named == [(rule, re.findall(r"severity: (\w+)", text)[0]) for rule, text in RULES.items()]


def test_every_alert_of_an_incident_is_a_rule_on_the_named_metric(scrape: Scrape) -> None:
    page = (DOCS / "incidents.md").read_text(encoding="utf-8")
    alerts = re.findall(r"`(Harvest[A-Z]\w+)`(?: on `(harvest_\w+)`)?", page)
    assert len(alerts) >= 12
    assert [rule for rule, _ in alerts if rule not in RULES] == []
    assert [(rule, figure) for rule, figure in alerts if figure not in expression(rule)] == []


# the dashboard


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda part: part if isinstance(part, str) else None)
def test_a_panel_uses_only_reported_metrics(title: str, target: dict[str, Any], scrape: Scrape) -> None:
    asked = target["expr"]
    assert unknown(asked, scrape) == []
    by = re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", asked)))
    assert {*by, *re.findall(r"{{(\w+)}}", target["legendFormat"])} <= labels_of(asked, scrape)


def test_the_dashboard_variable_uses_a_reported_metric(scrape: Scrape) -> None:
    (chosen,) = (v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query")
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", chosen).groups()
    assert label in scrape.labels(metric)


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARD["panels"]]
    assert [title for title, at in places if at["x"] < 0 or at["x"] + at["w"] > 24] == []
    assert [(a, b) for (a, one), (b, other) in combinations(places, 2) if _overlap(one, other)] == []


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    return not beside and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]


def test_an_unreported_metric_is_found(scrape: Scrape) -> None:
    asked = 'rate(harvest_entires_total[5m]) > 0 and harvest_books{sate="open"} and harvest_books{state=~"open|shut"}'
    assert unknown(asked, scrape) == ["harvest_entires_total", "harvest_books{sate}", "harvest_books{state=shut}"]
