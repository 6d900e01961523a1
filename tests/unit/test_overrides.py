"""A symbol's own rules: what a desk may write into their hash, and what is said of what it may not."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random

import pytest
from builders import ladder, rules
from hypothesis import example, given
from hypothesis import strategies as st

from harvest_tasks.fills.overrides import LONGEST_LINE, LONGEST_TEXT, SETTING_OF, with_overrides, with_refused_key
from harvest_tasks.settings.model import Settings, SettingsError
from kernel.positions.ladder import Basis
from kernel.positions.rules import Rules

FULL = ladder("0.2:0.1,0.5:0.25,1:0.25,1.5:0.25")
MIN_R = Decimal("0.5")
PLAIN = rules(ladder=FULL.at_least(MIN_R), set_be_at_r=Decimal("0.7"), live=True, max_parts=7, atr=Decimal(3))

RUNGS = "must list rungs as R:fraction in plain decimal numbers, such as 0.5:0.25,1.0:0.25"
FIELDS = "ladder, min_r, set_be_at_r, trail_atr_mult"


def ruled(fields: Mapping[str, str]) -> Rules:
    return with_overrides(PLAIN, MIN_R, FULL, fields)


def rungs(found: Rules) -> str:
    return ",".join(f"{rung.r}:{rung.fraction}" for rung in found.ladder.rungs)


def between(low: str, high: str) -> str:
    return f"must be a plain decimal number from {low} to {high}"


def test_an_empty_hash_changes_nothing_and_says_nothing() -> None:
    assert ruled({}) == PLAIN
    assert ruled({}).overrides == ""


@pytest.mark.parametrize(
    ("name", "text", "rule", "value"),
    [
        ("set_be_at_r", "0.01", "set_be_at_r", Decimal("0.01")),
        ("set_be_at_r", "100", "set_be_at_r", Decimal(100)),
        ("trail_atr_mult", "0.01", "trail_atr_mult", Decimal("0.01")),
        ("trail_atr_mult", "100.0", "trail_atr_mult", Decimal(100)),
        ("ladder", "0.5:0.5,1.0:0.5", "ladder", ladder("0.5:0.5,1:0.5")),
        ("ladder", "2:1", "ladder", ladder("2:1")),
        ("min_r", "0", "ladder", FULL),
        ("min_r", "0.2", "ladder", FULL),
        ("min_r", "1", "ladder", ladder("1:0.25,1.5:0.25")),
        ("min_r", "1.5", "ladder", ladder("1.5:0.25")),
    ],
)
def test_each_field_replaces_its_rule_and_no_other(name: str, text: str, rule: str, value: object) -> None:
    found = ruled({name: text})
    assert getattr(found, rule) == value
    others = ("ladder", "set_be_at_r", "trail_atr_mult", "live", "max_parts", "atr", "instrument", "cost_bps")
    assert [getattr(found, other) for other in others if other != rule] == [
        getattr(PLAIN, other) for other in others if other != rule
    ]
    assert found.overrides.startswith(f"{name}=")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("min_r", "-1", between("0", "100")),
        ("min_r", "100.01", between("0", "100")),
        ("min_r", "1e0", between("0", "100")),
        ("min_r", "\u0661", between("0", "100")),
        ("set_be_at_r", "0", between("0.01", "100")),
        ("set_be_at_r", "0.009", between("0.01", "100")),
        ("set_be_at_r", "101", between("0.01", "100")),
        ("set_be_at_r", "nan", between("0.01", "100")),
        ("trail_atr_mult", "0", between("0.01", "100")),
        ("trail_atr_mult", "abc", between("0.01", "100")),
        ("trail_atr_mult", "1_0", between("0.01", "100")),
        ("ladder", "0.5", RUNGS),
        ("ladder", "0.5:0.5,", RUNGS),
        ("ladder", "1:0.5,0.5:0.5", "rungs must ascend in R"),
        ("ladder", "0:0.5", "every rung needs a positive R"),
        ("ladder", "1:0.6,2:0.6", "the fractions sum to 1.2, more than the position"),
        ("min_r", "", "is blank; unset it, or give it a value"),
        ("min_r", " 1", "has white space around it"),
        ("set_be_at_r", "1\r", "ends in a carriage return; save the file it comes from with LF line ends"),
        ("ladder", "0.5\x00:1", "holds a control character"),
    ],
)
def test_a_wrong_value_is_refused_with_the_sentence_of_its_setting(name: str, text: str, why: str) -> None:
    found = ruled({name: text})
    assert found.overrides == f"refused {name}={text!r}: {why}"
    assert found == rules_saying(found.overrides)


def rules_saying(overrides: str) -> Rules:
    """The deployment's own, with a line."""
    return rules(
        ladder=PLAIN.ladder,
        set_be_at_r=PLAIN.set_be_at_r,
        live=True,
        max_parts=7,
        atr=Decimal(3),
        overrides=overrides,
    )


def test_a_refused_field_does_not_take_the_others_with_it() -> None:
    found = ruled({"trail_atr_mult": "abc", "min_r": "0.50", "ladder": "0.5:0.5,1.0:0.5"})
    assert rungs(found) == "0.5:0.5,1.0:0.5"
    assert found.trail_atr_mult == PLAIN.trail_atr_mult
    assert found.overrides == (
        f"ladder=0.5:0.5,1:0.5 min_r=0.5; refused trail_atr_mult='abc': {between('0.01', '100')}"
    )


def test_the_line_is_the_same_in_whatever_order_and_spelling_the_fields_come() -> None:
    one = ruled({"ladder": "1.0:0.50", "set_be_at_r": "2.0", "x": "1", "min_r": "bad", "a": ""})
    other = ruled({"a": "", "min_r": "bad", "x": "2", "set_be_at_r": "2", "ladder": "1:0.5"})
    assert one.overrides == other.overrides
    assert one.overrides == (
        f"ladder=1:0.5 set_be_at_r=2; refused min_r='bad': {between('0', '100')}; refused 'a', 'x': not one of {FIELDS}"
    )


def test_all_fields_may_be_set_and_are_listed_in_one_order() -> None:
    fields = {"trail_atr_mult": "4", "set_be_at_r": "3", "min_r": "2", "ladder": "1:0.5,2:0.5"}
    found = ruled(fields)
    assert (rungs(found), found.set_be_at_r, found.trail_atr_mult) == ("2:0.5", Decimal(3), Decimal(4))
    assert found.overrides == "ladder=1:0.5,2:0.5 min_r=2 set_be_at_r=3 trail_atr_mult=4"


def test_the_least_r_cuts_the_symbols_own_ladder() -> None:
    assert rungs(ruled({"ladder": "0.3:0.2,0.6:0.2,2:0.2"})) == "0.6:0.2,2:0.2"
    assert rungs(ruled({"ladder": "0.3:0.2,0.6:0.2,2:0.2", "min_r": "0.3"})) == "0.3:0.2,0.6:0.2,2:0.2"
    assert rungs(ruled({"ladder": "0.3:0.2,0.6:0.2,2:0.2", "min_r": "1"})) == "2:0.2"


def test_the_basis_stays_the_deployments() -> None:
    full = ladder("0.5:0.5", Basis.REMAINING)
    found = with_overrides(rules(ladder=full), MIN_R, full, {"ladder": "1:0.5"})
    assert found.ladder == ladder("1:0.5", Basis.REMAINING)


def test_a_least_r_above_every_rung_is_refused() -> None:
    found = ruled({"min_r": "1.6"})
    assert found == rules_saying("refused min_r='1.6': leaves no rung")


def test_a_least_r_above_the_symbols_own_ladder_is_refused_and_the_ladder_is_used() -> None:
    found = ruled({"ladder": "1:0.5", "min_r": "2"})
    assert rungs(found) == "1:0.5"
    assert found.overrides == "ladder=1:0.5; refused min_r='2': leaves no rung"


def test_a_ladder_under_the_deployments_least_r_is_refused() -> None:
    found = ruled({"ladder": "0.2:0.5,0.4:0.5"})
    assert found == rules_saying("refused ladder='0.2:0.5,0.4:0.5': leaves no rung")


def test_both_are_refused_when_neither_leaves_a_rung() -> None:
    found = ruled({"ladder": "0.2:0.5", "min_r": "3"})
    assert found == rules_saying("refused ladder='0.2:0.5': leaves no rung; refused min_r='3': leaves no rung")


def test_an_unknown_field_is_refused_with_what_is_allowed() -> None:
    assert ruled({"minr": "1"}) == rules_saying(f"refused 'minr': not one of {FIELDS}")
    assert ruled({"MIN_R": "1"}).overrides == f"refused 'MIN_R': not one of {FIELDS}"


def test_of_many_unknown_fields_three_are_named_and_the_others_counted() -> None:
    fields = {f"f{i:04}": "1" for i in range(5000)}
    assert ruled(fields).overrides == f"refused 'f0000', 'f0001', 'f0002' and 4997 more: not one of {FIELDS}"


def test_a_value_with_a_password_in_it_is_not_repeated() -> None:
    assert "hunter2" not in ruled({"ladder": "redis://:hunter2@host", "redis://:hunter2@host": "1"}).overrides


def test_a_huge_value_is_refused_and_its_line_stays_short() -> None:
    fields = {"ladder": "1:0." + "1" * 10**6, "min_r": "9" * 10**6, "n" * 10**6: "v"}
    found = ruled(fields)
    assert found == rules_saying(found.overrides)
    assert len(found.overrides) <= LONGEST_LINE
    assert found.overrides.count(f"is over {LONGEST_TEXT} characters") == 2


def test_a_long_ladder_is_used_and_hides_no_other_rule_in_the_line() -> None:
    text = ",".join(f"{i}:0.01" for i in range(1, 100))
    found = ruled({"ladder": text, "trail_atr_mult": "3"})
    assert len(found.ladder.rungs) == 99
    assert found.overrides.endswith("... trail_atr_mult=3")
    assert len(found.overrides) <= LONGEST_LINE


def test_a_key_of_another_type_leaves_the_rules_and_says_so() -> None:
    found = with_refused_key(PLAIN, "quantum:config:harvest:BTCUSDT")
    assert found == rules_saying("refused quantum:config:harvest:BTCUSDT: is not a hash")


# Text as redis-py gives it: undecodable bytes are lone surrogates.
any_text = st.text(st.characters(exclude_categories=()), max_size=80)
numbers = st.decimals(0, 101, places=2).map(str) | st.sampled_from(["0", "0.01", "100", "100.01", "1e1", ".5", "+1"])
ladders = st.lists(st.tuples(numbers, st.sampled_from(["0.1", "0.5", "1", "0"])), min_size=1, max_size=4).map(
    lambda pairs: ",".join(f"{r}:{fraction}" for r, fraction in sorted(pairs))
)
hashes = st.dictionaries(st.sampled_from(sorted(SETTING_OF)) | any_text, any_text | numbers | ladders, max_size=7)


@given(hashes)
@example({"ladder": "0.2:1", "min_r": "\udcff", "\ud800": "\n"})
@example(dict.fromkeys(SETTING_OF, "\U000e0001" * 80))
def test_any_hash_gives_rules_with_a_rung_and_one_short_printable_line(fields: dict[str, str]) -> None:
    found = ruled(fields)
    assert found.ladder.rungs
    assert found.overrides.isprintable()
    assert len(found.overrides) <= LONGEST_LINE
    assert bool(found.overrides) == bool(fields)


@given(hashes, st.randoms(use_true_random=False))
def test_the_order_of_the_fields_never_matters(fields: dict[str, str], random: Random) -> None:
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    assert ruled(dict(shuffled)) == ruled(fields)


@given(st.sampled_from(sorted(SETTING_OF)), any_text | numbers | ladders)
@example("min_r", "100")
@example("ladder", "0.3:0.5")
def test_a_field_is_used_exactly_when_its_setting_would_be(name: str, text: str) -> None:
    found = ruled({name: text}).overrides
    assert found.startswith("refused ") == (not _setting_allows(name, text))


def _setting_allows(name: str, text: str) -> bool:
    """With the deployment of these tests around it: its ladder, and the least R of 0.5."""
    around = {"HARVEST_LADDER": "0.2:0.1,0.5:0.25,1:0.25,1.5:0.25", "HARVEST_MIN_R": "0.5"}
    try:
        Settings.from_env({**around, SETTING_OF[name].upper(): text})
    except SettingsError:
        return False
    return True
