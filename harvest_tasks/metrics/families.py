"""Builders for Prometheus metric families: one family per name, one sample per set of labels."""

import re
from collections.abc import Mapping
from math import inf, nan
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX: Final = "harvest_"
MAX_SERIES: Final = 500
"""Most books or symbols with a series of their own in one metric."""
NEVER: Final = inf
"""The age of something that never happened."""

Labels = TypeVar("Labels", bound=tuple[str, ...])
Samples = Mapping[Labels, float]
"""A value for each set of label values."""

_word = re.compile(r"[a-z_0-9]{1,40}").match


def gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, meaning, value)


def gauges(name: str, meaning: str, labels: tuple[str, ...], samples: Samples[Labels]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, meaning, value)


def counters(name: str, meaning: str, labels: tuple[str, ...], samples: Samples[Labels]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def leading_word(text: str) -> str:
    """The first word of a reason. The rest names books and entries, which must not become label values."""
    found = _word(text)
    return found[0] if found else "other"


def parse_number(text: str) -> float:
    """`text` as a float, NaN if it is none: one wrong value in Redis must not hide all other metrics."""
    try:
        return float(text)
    except ValueError:
        return nan
