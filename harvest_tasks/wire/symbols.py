"""What is a valid symbol, and which books does a symbol have?"""

import re

is_symbol = re.compile(r"[A-Z0-9]{2,24}(?:_[0-9]{6})?").fullmatch


class InvalidSymbol(ValueError):
    """The text is not a valid symbol."""


class InvalidBook(ValueError):
    """The text is not a name that a book can have."""


def valid_symbol(text: object) -> str:
    """`text` if it is a symbol. Raises `InvalidSymbol`."""
    if not isinstance(text, str) or not is_symbol(text):
        raise InvalidSymbol(f"{text!r:.60} is not a symbol: expected A-Z and 0-9 only, such as BTCUSDT")
    return text


def symbol_of(book: str) -> str:
    """The symbol of `<SYMBOL>`, `<SYMBOL>:LONG` or `<SYMBOL>:SHORT`."""
    return book.partition(":")[0]


def hedge_legs(name: str) -> tuple[str, str]:
    """The two books of a symbol in hedge mode."""
    return f"{name}:LONG", f"{name}:SHORT"


def possible_books(name: str) -> tuple[str, str, str]:
    """Every book that a symbol can have: its own in one-way mode, then its legs in hedge mode."""
    return name, *hedge_legs(name)


def valid_book(text: str) -> str:
    """`text` if a book can have this name. Raises `InvalidBook`."""
    symbol = symbol_of(text)
    if not is_symbol(symbol) or text not in possible_books(symbol):
        expected = "a symbol such as BTCUSDT, or BTCUSDT:LONG or BTCUSDT:SHORT in hedge mode"
        raise InvalidBook(f"{text!r:.60} is not a book: expected {expected}")
    return text
