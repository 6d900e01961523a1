"""What Celery on Redis is known for, on real workers: it costs time only. `make faults ONLY=CEL` tries each more often.

Killed children and a server that stands still are in `test_kills`; a lost bell, and two beats on a quiet market, in
`test_shadow`; messages that are tampered with in the broker are F13.
"""

import os
from collections.abc import Callable, Sequence

import pytest
from laboratory import celery_weaknesses
from laboratory.arena import Arena
from laboratory.report import Result

SEED = int(os.environ.get("E2E_SEED", "20260123"))
SCALE = 0.1

Try = Callable[[str], Result]


@pytest.fixture
def tried(measured: Callable[[str], None]) -> Try:
    """What came of one weakness, a few times."""

    def attempt(name: str) -> Result:
        with Arena(celery_weaknesses.ID, SEED, SCALE) as arena:
            result = celery_weaknesses.run(arena, [name])
        measured(f"{result.cases} cases, {result.fills} fills, {result.intents} intents; {result.notes}")
        assert result.passed, "\n".join(line for failure in result.failures for line in failure.lines())
        assert result.fills > 0
        return result

    return attempt


def test_a_message_that_goes_while_it_is_fetched_loses_no_fill(tried: Try) -> None:
    assert tried("lost when fetched").notes["messages that went when they were fetched"] == 1


def test_a_message_that_comes_again_while_it_is_worked_on_does_nothing_twice(tried: Try) -> None:
    assert tried("doubled by the timeout").notes["messages doubled by the visibility timeout"] == 1


def test_workers_listen_again_whenever_their_broker_is_restarted_under_load(tried: Try) -> None:
    assert tried("broker restarted").notes["restarts of the broker"] == celery_weaknesses.RESTARTS * SCALE


def test_what_expired_while_nobody_took_messages_is_dropped_and_not_worked_on_in_a_burst(tried: Try) -> None:
    noted = tried("consumers stopped").notes["messages piled up, and stale ones of them worked on"]
    assert isinstance(noted, Sequence)
    piled, stale = noted
    assert piled > stale


def test_two_beats_publish_each_change_of_a_proposal_once(tried: Try) -> None:
    assert tried("two beats").notes["changes with two beats, proposals published"] == [1, 1]


def test_a_lost_reply_is_not_waited_for_for_ever_and_is_there_when_asked_again(tried: Try) -> None:
    assert tried("replies lost").notes["replies lost, of which announced to nobody"] == [1, 1]
