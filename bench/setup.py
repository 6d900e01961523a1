"""Sizes and repetitions of the measurements."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setup:
    """`quick` is for a first look: smaller data and fewer repetitions."""

    quick: bool

    def pick(self, whole: int, quick: int) -> int:
        return quick if self.quick else whole

    @property
    def repetitions(self) -> int:
        return self.pick(4, 2)
