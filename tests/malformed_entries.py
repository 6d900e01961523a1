"""Entries that the parser refuses, each with its reason and the book that it freezes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from entries import fill_fields, mark_fields, outcome_fields

from harvest_tasks.wire.refusal import RefusalReason as Reason

BOOK = "BTCUSDT"
FILL = '"symbol":"BTCUSDT","status":"FILLED","side":"BUY"'
WHOLE = FILL + ',"qty":0.5,"price":60000'


@dataclass(frozen=True, slots=True)
class Case:
    """`book` is the book that the refusal freezes, or `symbol` that whose tracked books it freezes; `says` is part of
    its detail.
    """

    name: str
    fields: dict[str, str]
    reason: Reason
    book: str | None = BOOK
    says: str = ""
    symbol: str | None = None


MALFORMED_NUMBERS: dict[str, tuple[str, Reason]] = {
    "zero": ("0", Reason.NOT_POSITIVE),
    "zero with decimals": ("0.000", Reason.NOT_POSITIVE),
    "zero with an exponent": ("0e15", Reason.NOT_POSITIVE),
    "under half a grid step": ("0.0000000000004", Reason.NOT_POSITIVE),
    "half a grid step": ("0.0000000000005", Reason.NOT_POSITIVE),
    "minus": ("-1", Reason.SIGNED),
    "minus zero": ("-0", Reason.SIGNED),
    "plus": ("+1", Reason.SIGNED),
    "minus a million digits of exponent": ("-1e1000000", Reason.SIGNED),
    "nan": ("nan", Reason.NOT_FINITE),
    "NaN": ("NaN", Reason.NOT_FINITE),
    "signalling NaN": ("sNaN", Reason.NOT_FINITE),
    "minus NaN": ("-NaN", Reason.NOT_FINITE),
    "inf": ("inf", Reason.NOT_FINITE),
    "Infinity": ("Infinity", Reason.NOT_FINITE),
    "minus Infinity": ("-Infinity", Reason.NOT_FINITE),
    "1e15": ("1e15", Reason.TOO_LARGE),
    "sixteen digits": ("1000000000000000", Reason.TOO_LARGE),
    "forty digits": ("9" * 40, Reason.TOO_LARGE),
    "rounds up to 1e15": ("999999999999999.9999999999996", Reason.TOO_LARGE),
    "exponent on many digits": ("123456789012345e15", Reason.TOO_LARGE),
    "exponent 16": ("1e16", Reason.EXPONENT_OUT_OF_RANGE),
    "exponent -13": ("1e-13", Reason.EXPONENT_OUT_OF_RANGE),
    "exponent 99": ("1e99", Reason.EXPONENT_OUT_OF_RANGE),
    "exponent of three digits": ("1e001", Reason.EXPONENT_OUT_OF_RANGE),
    "exponent of five million": ("1e5000000", Reason.EXPONENT_OUT_OF_RANGE),
    "exponent of minus five million": ("1e-5000000", Reason.EXPONENT_OUT_OF_RANGE),
    "exponent of thirty digits": ("1e" + "9" * 30, Reason.EXPONENT_OUT_OF_RANGE),
    "41 characters": ("1." + "0" * 39, Reason.NUMBER_TOO_LONG),
    "3,000 digits": ("1" * 3000, Reason.NUMBER_TOO_LONG),
    "3,000 decimals": ("0." + "3" * 3000, Reason.NUMBER_TOO_LONG),
    "3,000 digits of exponent": ("1e" + "9" * 3000, Reason.NUMBER_TOO_LONG),
    "3,000 zeros": ("0" * 3000, Reason.NUMBER_TOO_LONG),
    "3,000 minus signs": ("-" * 3000, Reason.NUMBER_TOO_LONG),
    "a word": ("abc", Reason.NOT_A_NUMBER),
    "a space": (" ", Reason.NOT_A_NUMBER),
    "leading space": (" 1", Reason.NOT_A_NUMBER),
    "trailing space": ("1 ", Reason.NOT_A_NUMBER),
    "trailing newline": ("1\n", Reason.NOT_A_NUMBER),
    "space within": ("1 000", Reason.NOT_A_NUMBER),
    "underscore": ("1_000", Reason.NOT_A_NUMBER),
    "thousands comma": ("1,000.5", Reason.NOT_A_NUMBER),
    "decimal comma": ("1,5", Reason.NOT_A_NUMBER),
    "leading zero": ("01", Reason.NOT_A_NUMBER),
    "no digit before the point": (".5", Reason.NOT_A_NUMBER),
    "no digit after the point": ("5.", Reason.NOT_A_NUMBER),
    "two points": ("1.2.3", Reason.NOT_A_NUMBER),
    "26 decimals": ("0." + "1" * 26, Reason.NOT_A_NUMBER),
    "no digit in the exponent": ("1e", Reason.NOT_A_NUMBER),
    "exponent alone": ("e5", Reason.NOT_A_NUMBER),
    "fraction in the exponent": ("1e0.5", Reason.NOT_A_NUMBER),
    "hexadecimal": ("0x1F", Reason.NOT_A_NUMBER),
    "octal": ("0o17", Reason.NOT_A_NUMBER),
    "float suffix": ("1.5f", Reason.NOT_A_NUMBER),
    "currency": ("$100", Reason.NOT_A_NUMBER),
    "unit": ("100 USDT", Reason.NOT_A_NUMBER),
    "percent": ("5%", Reason.NOT_A_NUMBER),
    "null as a word": ("null", Reason.NOT_A_NUMBER),
    "true as a word": ("true", Reason.NOT_A_NUMBER),
    "None as a word": ("None", Reason.NOT_A_NUMBER),
    "null byte": ("1\x00", Reason.NOT_A_NUMBER),
    "full-width digits": ("\uff11\uff12", Reason.NOT_A_NUMBER),
    "Arabic digits": ("\u0661\u0662", Reason.NOT_A_NUMBER),
    "superscript": ("1\u00b2", Reason.NOT_A_NUMBER),
    "vulgar fraction": ("\u00bd", Reason.NOT_A_NUMBER),
    "typographic minus": ("\u22121", Reason.NOT_A_NUMBER),
    "no-break space": ("\u00a01", Reason.NOT_A_NUMBER),
    "JSON object in text": ('{"a":1}', Reason.NOT_A_NUMBER),
}
ZEROS = ("zero", "zero with decimals", "zero with an exponent")
"""Of these a fill has no quantity, so it is ignored."""

SYMBOLS = {
    "lower case": "btcusdt",
    "mixed case": "BtcUSDT",
    "one character": "B",
    "25 characters": "A" * 25,
    "thousands of characters": "A" * 3900,
    "hyphen": "BTC-USDT",
    "slash": "BTC/USDT",
    "colon": "BTCUSDT:LONG",
    "leading space": " BTCUSDT",
    "trailing newline": "BTCUSDT\n",
    "null byte": "BTCUSDT\x00",
    "short delivery date": "BTCUSDT_24062",
    "long delivery date": "BTCUSDT_2406280",
    "text for a delivery date": "BTCUSDT_PERPET",
    "Cyrillic text": "\u0412\u0422CUSDT",
    "full-width text": "\uff22\uff34\uff23",
    "Arabic digits": "BTC\u0661USDT",
    "key pattern": "BTC*",
    "path": "../BTCUSDT",
}

SIDES = {
    "LONG": "LONG",
    "SHORT": "SHORT",
    "an intention": "CLOSE",
    "one character": "B",
    "a number": "1",
    "trailing space": "BUY ",
    "null byte": "BUY\x00",
    "a character that becomes S": "\u017fell",
    "long": "BUY" * 1000,
}

IDENTITIES = {
    "65 characters": "t" * 65,
    "thousands of characters": "t" * 3900,
    "a space": "a b",
    "only a space": " ",
    "a newline": "a\n",
    "a null byte": "a\x00",
    "an accent": "\u00e9",
    "delete": "a\x7f",
}

MALFORMED_TIMES: dict[str, tuple[str, Reason]] = {
    "zero": ("0", Reason.TIME_OUT_OF_RANGE),
    "zero seconds": ("0.0", Reason.TIME_OUT_OF_RANGE),
    "one": ("1", Reason.TIME_OUT_OF_RANGE),
    "the end of 2008": ("1230767999", Reason.TIME_OUT_OF_RANGE),
    "the end of 2008 in ms": ("1230767999999", Reason.TIME_OUT_OF_RANGE),
    "the year 2101": ("4133980800", Reason.TIME_OUT_OF_RANGE),
    "the year 2101 in ms": ("4133980800000", Reason.TIME_OUT_OF_RANGE),
    "ISO year 2101": ("2101-01-01T00:00:00Z", Reason.TIME_OUT_OF_RANGE),
    "ISO year 1970": ("1970-01-01T00:00:00Z", Reason.TIME_OUT_OF_RANGE),
    "ISO year 1 with an offset": ("0001-01-01T00:00:00+23:59", Reason.TIME_OUT_OF_RANGE),
    "ISO year 9999 with an offset": ("9999-12-31T23:59:59-23:59", Reason.TIME_OUT_OF_RANGE),
    "15 digits": ("170000000012345", Reason.TIME_OUT_OF_RANGE),
    "microseconds": ("1700000000123456", Reason.NOT_A_TIME),
    "nanoseconds": ("1700000000123456789", Reason.NOT_A_TIME),
    "3,000 digits": ("1" * 3000, Reason.NOT_A_TIME),
    "minus": ("-1700000000", Reason.NOT_A_TIME),
    "huge exponent": ("1e5000000", Reason.NOT_A_TIME),
    "NaN": ("NaN", Reason.NOT_A_TIME),
    "a word": ("now", Reason.NOT_A_TIME),
    "a date alone": ("2023-11-14", Reason.NOT_A_TIME),
    "month 13": ("2023-13-01T00:00:00Z", Reason.NOT_A_TIME),
    "the 30th of February": ("2023-02-30T00:00:00Z", Reason.NOT_A_TIME),
    "hour 25": ("2023-11-14T25:00:00Z", Reason.NOT_A_TIME),
    "second 60": ("2023-11-14T22:13:60Z", Reason.NOT_A_TIME),
    "offset of 99 hours": ("2023-11-14T22:13:20+99:00", Reason.NOT_A_TIME),
    "two zones": ("2023-11-14T22:13:20+00:00Z", Reason.NOT_A_TIME),
    "American order": ("11/14/2023 22:13:20", Reason.NOT_A_TIME),
    "Arabic digits": ("\u0662\u0660\u0662\u0663-11-14T22:13:20Z", Reason.NOT_A_TIME),
    "leading space": (" 1700000000", Reason.NOT_A_TIME),
    "underscores": ("1_700_000_000", Reason.NOT_A_TIME),
}

JSON_VALUES = {
    "true": ("true", "true"),
    "false": ("false", "false"),
    "a list": ("[1]", "a list"),
    "an empty list": ("[]", "a list"),
    "an object": ('{"value":1}', "an object"),
    "an empty object": ("{}", "an object"),
}

JSON_NUMBERS = (
    ("1e5000000", Reason.EXPONENT_OUT_OF_RANGE),
    ("-1", Reason.SIGNED),
    ("1e-13", Reason.EXPONENT_OUT_OF_RANGE),
    ("1" * 41, Reason.NUMBER_TOO_LONG),
    ("0.1e99", Reason.EXPONENT_OUT_OF_RANGE),
    ("1E400", Reason.EXPONENT_OUT_OF_RANGE),
)

UNREADABLE: dict[str, tuple[str, Reason]] = {
    "no JSON": ("FILLED BTCUSDT", Reason.NOT_JSON),
    "only a brace": ("{", Reason.NOT_JSON),
    "only spaces": ("   ", Reason.NOT_JSON),
    "a byte order mark": ("\ufeff{}", Reason.NOT_JSON),
    "a list": ("[]", Reason.NOT_AN_OBJECT),
    "a number": ("5", Reason.NOT_AN_OBJECT),
    "a text": ('"FILLED"', Reason.NOT_AN_OBJECT),
    "null": ("null", Reason.NOT_AN_OBJECT),
    "4,000 digits": ("1" * 4000, Reason.NOT_AN_OBJECT),
    "4,000 opening brackets": ("[" * 4000, Reason.TOO_DEEP),
    "4,000 opening braces": ('{"a":' * 800, Reason.TOO_DEEP),
    "2,000 nested lists": ("[" * 2000 + "]" * 2000, Reason.TOO_DEEP),
    "an endless string of escapes": ('"\\' * 2000, Reason.NOT_JSON),
    "brackets after an endless string": ('{"a":"' + "[" * 4000, Reason.NOT_JSON),
    "brackets and endless strings": ('["\\"' * 1000, Reason.NOT_JSON),
}

DAMAGED: dict[str, tuple[str, Reason]] = {
    "cut off": ("{" + WHOLE, Reason.NOT_JSON),
    "followed by another object": ("{" + WHOLE + "}{}", Reason.NOT_JSON),
    "trailing comma": ("{" + WHOLE + ",}", Reason.NOT_JSON),
    "single quotes": ("{" + WHOLE + ",'a':1}", Reason.NOT_JSON),
    "a comment": ("{" + WHOLE + "/* ok */}", Reason.NOT_JSON),
    "a raw newline in a string": ("{" + WHOLE + ',"a":"\n"}', Reason.NOT_JSON),
    "a number with a leading zero": ("{" + FILL + ',"qty":00.5,"price":1}', Reason.NOT_JSON),
    "a number with a plus": ("{" + FILL + ',"qty":+0.5,"price":1}', Reason.NOT_JSON),
    "a number with an underscore": ("{" + FILL + ',"qty":1_0,"price":1}', Reason.NOT_JSON),
    "a hexadecimal number": ("{" + FILL + ',"qty":0x10,"price":1}', Reason.NOT_JSON),
    "an undefined value": ("{" + FILL + ',"qty":undefined,"price":1}', Reason.NOT_JSON),
    "a broken escape": ("{" + WHOLE + ',"a":"\\u12"}', Reason.NOT_JSON),
    "NaN": ("{" + FILL + ',"qty":NaN,"price":1}', Reason.NOT_FINITE),
    "Infinity": ("{" + FILL + ',"qty":1,"price":Infinity}', Reason.NOT_FINITE),
    "-Infinity": ("{" + FILL + ',"qty":1,"price":-Infinity}', Reason.NOT_FINITE),
    "NaN where nobody reads": ("{" + WHOLE + ',"confidence":NaN}', Reason.NOT_FINITE),
    "a key twice": ("{" + WHOLE + ',"qty":0.5}', Reason.DUPLICATE_KEY),
    "a key twice within": ("{" + WHOLE + ',"a":[{"b":1,"b":2}]}', Reason.DUPLICATE_KEY),
    "a key twice, once escaped": ("{" + WHOLE + ',"\\u0071ty":0.5}', Reason.DUPLICATE_KEY),
    "depth 5": ("{" + WHOLE + ',"a":[[[[]]]]}', Reason.TOO_DEEP),
    "depth 5 in objects": ("{" + WHOLE + ',"a":{"b":{"c":{"d":{}}}}}', Reason.TOO_DEEP),
    "depth 1,000": ("{" + WHOLE + ',"a":' + "[" * 1000 + "]" * 1000 + "}", Reason.TOO_DEEP),
    "33 members": (json.dumps(fill_fields() | {f"f{n}": "" for n in range(28)}), Reason.TOO_MANY_FIELDS),
    "33 members within": ("{" + WHOLE + ',"a":' + json.dumps(dict.fromkeys(range(33))) + "}", Reason.TOO_MANY_FIELDS),
    "an escaped surrogate": ("{" + WHOLE + ',"a":"\\ud800"}', Reason.NOT_UTF8),
    "an escaped surrogate in a key": ("{" + WHOLE + ',"\\udfff":1}', Reason.NOT_UTF8),
    "an escaped surrogate in a list": ("{" + WHOLE + ',"a":[["\\uDC00\\uD800"]]}', Reason.NOT_UTF8),
    "a byte that is not UTF-8": ("{" + WHOLE + ',"a":"\udcff"}', Reason.NOT_UTF8),
    "4,097 bytes": (("{" + WHOLE + ',"a":"').ljust(4096 - len("payload") - 1, "x") + '"}', Reason.ENTRY_TOO_BIG),
    "a megabyte": ("{" + WHOLE + ',"a":"' + "x" * 1_000_000 + '"}', Reason.ENTRY_TOO_BIG),
}


def numbers() -> Iterator[Case]:
    for name, (text, reason) in MALFORMED_NUMBERS.items():
        for field in ("price",) if name in ZEROS else ("qty", "price"):
            yield Case(f"{field}: {name}", fill_fields(**{field: text}), reason, says=field)
        yield Case(f"mark: {name}", mark_fields(price=text), reason, None, "price")
    for field in ("quantity", "filled_qty", "last_price", "fill_price", "avg_price"):
        kind = "price" if field.endswith("price") else "qty"
        for name in ("half a grid step", "minus", "nan", "exponent of five million", "3,000 digits", "a word"):
            text, reason = MALFORMED_NUMBERS[name]
            yield Case(f"{field}: {name}", fill_fields(**{kind: None, field: text}), reason, says=field)
            if field != "filled_qty":
                beside = fill_fields(**{field: text})
                yield Case(f"{field}: {name} beside {kind}", beside, reason, says=field)
    for name in ZEROS:
        for field in ("last_price", "fill_price", "avg_price"):
            text, reason = MALFORMED_NUMBERS[name]
            yield Case(f"{field}: {name} alone", fill_fields(price=None, **{field: text}), reason, says=field)
    for field in ("filled", "cum_qty", "executedQty", "z"):
        total = fill_fields(qty=None, **{field: "0.5"})
        yield Case(f"{field}: the order's total alone", total, Reason.CUMULATIVE_QUANTITY)
        total = fill_fields(qty=None, **{field: "-0.5"})
        yield Case(f"{field}: a malformed total alone", total, Reason.SIGNED, says=field)
    planned = fill_fields(price=None, entry_price="0")
    yield Case("entry_price: zero when it is needed", planned, Reason.NOT_POSITIVE, says="entry_price")
    for name in ("zero", "minus", "a word", "1e15"):
        text, reason = MALFORMED_NUMBERS[name]
        fields = fill_fields(qty=None, position_size_usd=text)
        yield Case(f"position_size_usd: {name}", fields, reason, says="position_size_usd")
    dust = fill_fields(qty=None, position_size_usd="0.00000001", price="60000")
    yield Case("position_size_usd: buys nothing", dust, Reason.NOT_POSITIVE, says="qty")
    flood = fill_fields(qty=None, position_size_usd="999999999999999", price="0.1")
    yield Case("position_size_usd: buys too much", flood, Reason.TOO_LARGE, says="qty")


def words() -> Iterator[Case]:
    for name, text in SYMBOLS.items():
        yield Case(f"symbol: {name}", fill_fields(symbol=text), Reason.BAD_SYMBOL, None, "symbol")
    yield Case("symbol: of a mark", mark_fields(symbol="btcusdt"), Reason.BAD_SYMBOL, None)
    yield Case("symbol: of an outcome", outcome_fields(symbol="btcusdt"), Reason.BAD_SYMBOL, None)
    for name, text in SIDES.items():
        yield Case(f"side: {name}", fill_fields(side=text), Reason.BAD_SIDE, says="side")
    yield Case("action: HOLD", fill_fields(side=None, action="HOLD"), Reason.BAD_SIDE, says="action")
    for text in ("SIDEWAYS", "BUY", "LONG ", "1", "\x00"):
        fields = fill_fields(position_side=text)
        yield Case(f"position_side: {text!a}", fields, Reason.BAD_POSITION_SIDE, None, "position_side", "BTCUSDT")
    unread = outcome_fields(position_side="SIDEWAYS")
    yield Case("position_side: of an outcome", unread, Reason.BAD_POSITION_SIDE, None, "position_side")
    for name, text in IDENTITIES.items():
        yield Case(f"trade_id: {name}", fill_fields(trade_id=text), Reason.BAD_ID, says="trade_id")
    for field in ("fill_id", "order_id", "intent_id", "correlation_id"):
        yield Case(f"{field}: a space", fill_fields(**{field: "a b"}), Reason.BAD_ID, says=field)
    yield Case("intent_id: of an outcome", outcome_fields(intent_id="a b"), Reason.BAD_ID, None)
    for text in ("B", "US DT", "USD₮", "-", "A" * 17, "ﬁat"):
        yield Case(f"fee_asset: {text:.5}", fill_fields(fee="1", fee_asset=text), Reason.BAD_ASSET, says="fee_asset")


def times() -> Iterator[Case]:
    for name, (text, reason) in MALFORMED_TIMES.items():
        yield Case(f"ts: {name}", fill_fields(ts=text), reason, says="ts")
    yield Case("timestamp: zero", fill_fields(timestamp="0"), Reason.TIME_OUT_OF_RANGE, says="timestamp")
    yield Case("timestamp: of a mark", mark_fields(timestamp="soon"), Reason.NOT_A_TIME, None)
    yield Case("timestamp: of an outcome", outcome_fields(timestamp="soon"), Reason.NOT_A_TIME, None)


def missing() -> Iterator[Case]:
    for field in ("side", "qty", "price"):
        for text in (None, ""):
            yield Case(
                f"no {field}: {text!r}", fill_fields(**{field: text}), Reason.MISSING, says=f"{field} is missing"
            )
    yield Case("no symbol", fill_fields(symbol=None), Reason.MISSING, None, "symbol is missing")
    yield Case("no status", fill_fields(status=None), Reason.MISSING, None, "status is missing")
    yield Case("nothing at all", {}, Reason.MISSING, None, "status is missing")
    yield Case("a mark without a price", mark_fields(price=None), Reason.MISSING, None, "price is missing")
    yield Case("a mark with another price", mark_fields(price=None, entry_price="5"), Reason.MISSING, None, "price")
    yield Case("a mark without a symbol", mark_fields(symbol=None), Reason.MISSING, None, "symbol is missing")
    yield Case("an empty payload object", {"payload": "{}"}, Reason.MISSING, None, "status is missing")
    null = {"payload": "{" + FILL + ',"qty":null,"price":1}'}
    yield Case("a null quantity", null, Reason.MISSING, says="qty is missing")


def conflicts() -> Iterator[Case]:
    stated = {
        "side and action": fill_fields(action="SELL"),
        "qty and quantity": fill_fields(quantity="0.6"),
        "last_price and fill_price": fill_fields(last_price="60000", fill_price="60001"),
        "price and avg_price": fill_fields(avg_price="60001"),
        "trade_id and fill_id": fill_fields(trade_id="1", fill_id="01"),
        "ts and timestamp": fill_fields(ts="1700000000", timestamp="1700000001"),
        "flat and nested quantity": fill_fields() | {"payload": '{"qty":0.6}'},
        "payload and data": {"payload": "{" + WHOLE + "}", "data": '{"price":1}'},
        "payload and its signal": {"payload": "{" + WHOLE + ',"signal":{"action":"SELL"}}'},
    }
    for name, fields in stated.items():
        yield Case(f"conflict: {name}", fields, Reason.CONFLICTING)
    elsewhere = fill_fields() | {"data": '{"symbol":"ETHUSDT"}'}
    yield Case("conflict: flat and nested symbol", elsewhere, Reason.CONFLICTING, None, "symbol")
    both = fill_fields(position_side="LONG") | {"data": '{"position_side":"SHORT"}'}
    yield Case("conflict: position sides", both, Reason.CONFLICTING, None, "position_side", "BTCUSDT")
    state = fill_fields() | {"data": '{"status":"REJECTED"}'}
    yield Case("conflict: filled and rejected", state, Reason.CONFLICTING, says="status")
    ended = outcome_fields() | {"data": '{"status":"EXPIRED"}'}
    yield Case("conflict: rejected and expired", ended, Reason.CONFLICTING, None, "status")
    hedged = fill_fields(position_side="SHORT", price="0")
    yield Case("a hedged fill freezes its leg", hedged, Reason.NOT_POSITIVE, "BTCUSDT:SHORT")


def unknown_statuses() -> Iterator[Case]:
    for word in ("SETTLED", "EXECUTED", "FILLED ", "x" * 4000, "\ufb01lled", "\x00"):
        yield Case(f"status: {word[:9]!a}", fill_fields(status=word), Reason.UNKNOWN_STATUS)
    leg = fill_fields(status="SETTLED", position_side="LONG")
    yield Case("status: unknown, of a leg", leg, Reason.UNKNOWN_STATUS, "BTCUSDT:LONG")
    no_leg = fill_fields(status="SETTLED", position_side="SIDEWAYS")
    yield Case("status: unknown, of no leg", no_leg, Reason.UNKNOWN_STATUS, None, "status", "BTCUSDT")
    number = {"payload": "{" + WHOLE.replace('"FILLED"', "5") + "}"}
    yield Case("status: a JSON number", number, Reason.UNKNOWN_STATUS)
    total = fill_fields(status="SETTLED", qty=None, z="1")
    yield Case("status: unknown, with a total", total, Reason.UNKNOWN_STATUS)


def json_values() -> Iterator[Case]:
    for name, (value, says) in JSON_VALUES.items():
        for field, reason in (
            ("qty", Reason.NOT_A_NUMBER),
            ("trade_id", Reason.BAD_ID),
            ("ts", Reason.NOT_A_TIME),
            ("action", Reason.BAD_SIDE),
        ):
            fields = {"payload": "{" + FILL + f',"price":1,"quantity":1,"{field}":{value}' + "}"}
            yield Case(f"JSON {field}: {name}", fields, reason, says=says)
        unnamed = {"payload": '{"status":"FILLED","symbol":' + value + "}"}
        yield Case(f"JSON symbol: {name}", unnamed, Reason.BAD_SYMBOL, None, says)
    for text, reason in JSON_NUMBERS:
        number = {"payload": "{" + FILL + f',"price":1,"qty":{text}' + "}"}
        yield Case(f"JSON number: {text:.12}", number, reason, says="qty")
    digits = {"payload": '{"status":"FILLED","symbol":12345}'}
    yield Case("JSON symbol: a number", digits, Reason.BAD_SYMBOL, None)
    for value in ("1.5", "-7", "1e5", "9" * 65):
        fields = {"payload": "{" + WHOLE + f',"trade_id":{value}' + "}"}
        yield Case(f"JSON trade_id: {value:.12}", fields, Reason.BAD_ID)


def unreadable() -> Iterator[Case]:
    for field in ("payload", "data"):
        for name, (text, reason) in UNREADABLE.items():
            yield Case(f"{field}: {name}", {field: text}, reason, None)
    for name, (text, reason) in DAMAGED.items():
        yield Case(f"damaged fill: {name}", {"payload": text}, reason)
    yield Case("damaged signal", {"signal": "{" + WHOLE}, Reason.NOT_JSON)
    beside = fill_fields() | {"payload": "garbage"}
    yield Case("garbage beside a fill", beside, Reason.NOT_JSON)
    mark = '{"symbol":"BTCUSDT","status":"PRICE_UPDATE","price":NaN}'
    yield Case("damaged mark", {"payload": mark}, Reason.NOT_FINITE, None)
    leg = "{" + WHOLE + ',"position_side":"LONG"'
    yield Case("damaged fill of a leg", {"payload": leg}, Reason.NOT_JSON, "BTCUSDT:LONG")
    two = "{" + WHOLE + ',"symbol":"ETHUSDT"}'
    yield Case("damaged fill of two symbols", {"payload": two}, Reason.DUPLICATE_KEY, None)


def sizes() -> Iterator[Case]:
    fields = fill_fields()
    spare = 4096 - sum(len(name) + len(value) for name, value in fields.items())
    yield Case("4,097 bytes flat", fields | {"note": "x" * (spare - 3)}, Reason.ENTRY_TOO_BIG)
    accents = fields | {"note": "\u00e9" * (spare // 2)}
    yield Case("4,096 characters of more bytes", accents, Reason.ENTRY_TOO_BIG)
    yield Case("a field name of 4 KiB", fields | {"x" * 4096: ""}, Reason.ENTRY_TOO_BIG)
    yield Case("a megabyte of text", fields | {"note": "x" * 1_000_000}, Reason.ENTRY_TOO_BIG)
    yield Case("a megabyte of symbol", fill_fields(symbol="A" * 1_000_000), Reason.ENTRY_TOO_BIG, None)
    yield Case("a megabyte of status", fill_fields(status="F" * 1_000_000), Reason.ENTRY_TOO_BIG, None)
    yield Case("a megabyte of digits", fill_fields(qty="1" * 1_000_000), Reason.ENTRY_TOO_BIG)
    yield Case("a megabyte of quotes", fields | {"data": '"symbol":"' * 100_000}, Reason.ENTRY_TOO_BIG)
    yield Case("33 fields", fields | {f"f{n}": "" for n in range(28)}, Reason.TOO_MANY_FIELDS)
    yield Case("10,000 fields", fields | {f"f{n}": "" for n in range(10_000)}, Reason.TOO_MANY_FIELDS)
    yield Case("a mark of 33 fields", mark_fields() | {f"f{n}": "" for n in range(30)}, Reason.TOO_MANY_FIELDS, None)
    yield Case("a value that is not UTF-8", fields | {"note": "\udcff\udcfe"}, Reason.NOT_UTF8)
    yield Case("a name that is not UTF-8", fields | {"\udcff": ""}, Reason.NOT_UTF8)
    yield Case("a symbol that is not UTF-8", fill_fields(symbol="BTC\udcff"), Reason.NOT_UTF8, None)
    yield Case("a quantity that is not UTF-8", fill_fields(qty="\udc31"), Reason.NOT_UTF8)
    yield Case("a surrogate that no byte gave", fields | {"note": "\ud800"}, Reason.NOT_UTF8)


CASES = [
    *numbers(),
    *words(),
    *times(),
    *missing(),
    *conflicts(),
    *unknown_statuses(),
    *json_values(),
    *unreadable(),
    *sizes(),
]
