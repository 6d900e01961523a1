"""The samples of one scrape, looked up by name."""

from collections.abc import Collection, Iterable, Mapping

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import PREFIX


class Scrape:
    """The samples of a scrape at `now` (unix s), and the queues that workers consume (None: not known)."""

    def __init__(self, metrics: Iterable[Metric], consumed: Collection[str] | None, now: float) -> None:
        self.consumed = consumed
        self.now = now
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for metric in metrics:
            for sample in metric.samples:
                self._samples.setdefault(sample.name.removeprefix(PREFIX), []).append((sample.labels, sample.value))

    def value(self, name: str, **labels: str) -> float:
        """The value of the sample with exactly these labels; 0 if there is none."""
        return next((value for given, value in self._samples.get(name, []) if given == labels), 0.0)

    def by(self, label: str, name: str) -> dict[str, float]:
        """The values of all samples called `name`, by one of their labels."""
        return {given[label]: value for given, value in self._samples.get(name, [])}
