"""Metric families as Prometheus wants them: one for each name, with a sample for each set of labels."""

import re
from collections.abc import Mapping
from math import nan
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX: Final = "harvest_"

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


def word(text: str) -> str:
    """The word that a reason begins with: what follows it names books and entries, and a label must not."""
    found = _word(text)
    return found[0] if found else "other"


def number(text: str) -> float:
    """NaN for what somebody else wrote there: one wrong value must not hide all the others."""
    try:
        return float(text)
    except ValueError:
        return nan
