"""The guards as the next commit will find them.

Plans for fills start from a shortcut (`fills/loading.py`) that only knows whether the rate limit is used up; commit.lua
then counts. An operator has to see the count beforehand, so it is read here the way commit.lua reads it.
"""

from dataclasses import replace

from harvest_tasks.fills import loading
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, checked
from harvest_tasks.settings.model import Settings
from kernel.positions.guards import Guards


def read_guards(client: Client, settings: Settings) -> Guards:
    """The clock, the kill switch and what is left of the rate limit, read in one atomic step; writes nothing."""
    limit = settings.harvest_max_actions_per_min
    with client.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.get(settings.harvest_kill_switch_key)
        pipe.lrange(keys.WINDOW, 0, limit - 1)
        time, switch, published_ms = pipe.execute(raise_on_error=False)
    guards = loading.guard_state(time, switch, None, settings, None)
    used = loading.published_in_window(map(int, checked(published_ms)), guards.now_ms)
    return replace(guards, budget=limit - used)
