"""Passes prices on and does nothing with them: read in a group, write unchanged, acknowledge.

No consumer with this machine, server and redis-py can be faster: of a few tenths of a millisecond, most is the
waking of processes.
"""

from typing import Final

from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings

GROUP: Final = "passing_on"
COUNT: Final = 500


def run(settings: Settings) -> None:
    """Run until killed."""
    client = connect(settings.redis_url)
    source, out = settings.stream_execution_result, settings.stream_harvest_suggestions
    client.xgroup_create(source, GROUP, id="0", mkstream=True)
    while True:
        for _, entries in client.xreadgroup(GROUP, GROUP, {source: ">"}, count=COUNT, block=1_000):
            with client.pipeline(transaction=False) as pipe:
                for entry_id, fields in entries:
                    pipe.xadd(out, fields)
                    pipe.xack(source, GROUP, entry_id)
                pipe.execute()
