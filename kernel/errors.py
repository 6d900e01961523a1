"""Errors of the kernel: one root, one sentence per leaf."""


class KernelError(ValueError):
    """A value that no position, market or ladder can have."""


class InvalidNumber(KernelError):
    """A price, quantity or ratio is missing, not finite, or outside its range."""


class InvalidLadder(KernelError):
    """A ladder's rungs are not ascending, or its fractions do not fit in one position."""


class InvalidSide(KernelError):
    """A position side is neither LONG nor SHORT."""


class InvalidTheta(KernelError):
    """The parameters of the proposal formulas contradict each other."""
