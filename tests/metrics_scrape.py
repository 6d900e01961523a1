"""What a scrape of Harvest's metrics says, read as Prometheus reads it."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from harvest_tasks.metrics.exporter import Exporter


class Scrape:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value

    @property
    def names(self) -> set[str]:
        return set(self._samples)

    def value(self, name: str, **labels: str) -> float:
        """Of exactly these labels. Raises KeyError."""
        return self._samples[f"harvest_{name}"][frozenset(labels.items())]

    def by(self, label: str, name: str) -> Mapping[str, float]:
        """The samples of a metric with one label, by its value."""
        found = self._samples.get(f"harvest_{name}", {})
        return {dict(labels)[label]: value for labels, value in found.items()}

    def labels(self, name: str) -> set[str]:
        """The labels that samples of the whole `name` have."""
        return {label for labels in self._samples[name] for label, _ in labels}


def scraping(exporter: Exporter) -> Callable[[], Scrape]:
    """Scrapes once at each call."""
    registry = CollectorRegistry()
    registry.register(exporter)
    return lambda: Scrape(generate_latest(registry).decode())
