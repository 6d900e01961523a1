"""How often each branch of a script was taken: the script with a counter in every body of a choice or a loop.

The counted script does what the real one does. Its counts are in a database of their own, which emptying the other
one leaves alone; a call that ends in an error counts nothing.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha1
from typing import Final
from unittest.mock import patch

from harvest_tasks.server import script
from harvest_tasks.server.client import Client
from laboratory.lua_text import line_of, tokens

DATABASE: Final = 15
"""Neither Harvest nor its broker uses it here."""
KEY: Final = "faults:branches"
_BODY_AFTER: Final = ("then", "else", "do")
_COUNTED: Final = """local taken_here = {{}}
local function took(branch)
  taken_here[branch] = (taken_here[branch] or 0) + 1
end
local function counted()
{text}
end
local reply = counted()
redis.call('SELECT', {database})
for branch, times in pairs(taken_here) do
  redis.call('HINCRBY', '{key}', '{name} ' .. branch, times)
end
return reply
"""
_real: Final = script.load
"""Also while another stands in its place."""
_READ: Final = f"redis.call('SELECT', {DATABASE}) return redis.call('HGETALL', '{KEY}')"
_FORGET: Final = f"redis.call('SELECT', {DATABASE}) return redis.call('DEL', '{KEY}')"


@lru_cache
def counted(name: str) -> script.Script:
    """The script of that name, counting."""
    text = _real(name).text
    for at, number in reversed(_bodies(name)):
        text = f"{text[:at]} took({number}){text[at:]}"
    whole = _COUNTED.format(text=text, database=DATABASE, key=KEY, name=name)
    return script.Script(name, whole, sha1(whole.encode(), usedforsecurity=False).hexdigest())


def all_branches(name: str) -> list[str]:
    """A label for each branch there is, in the order of the text: `commit.lua:79 if not now then`."""
    real = _real(name).text
    labels: Counter[str] = Counter()
    made = []
    for at, _ in _bodies(name):
        number, line = line_of(real, at)
        label = f"{name}.lua:{number} {line}"
        labels[label] += 1
        made.append(label if labels[label] == 1 else f"{label} ({labels[label]})")
    return made


def read(client: Client) -> Counter[str]:
    """How often each branch was taken, by its label; those that never were are there, too, once a script was used."""
    flat = client.eval(_READ, 0)
    counts = dict(zip(flat[::2], map(int, flat[1::2]), strict=True))
    found: Counter[str] = Counter()
    for name in sorted({key.partition(" ")[0] for key in counts}):
        found.update({label: counts.get(f"{name} {n}", 0) for n, label in enumerate(all_branches(name))})
    return found


def forget(client: Client) -> None:
    """Count from nothing."""
    client.eval(_FORGET, 0)


@contextmanager
def counting(*names: str) -> Iterator[None]:
    """While it lasts, these scripts count. Whoever asked for a script before has the real one."""
    before = script.load
    with patch.object(script, "load", lambda name: counted(name) if name in names else before(name)):
        yield


def _bodies(name: str) -> list[tuple[int, int]]:
    """Where each body begins, and its number."""
    ends = [token.end for token in tokens(_real(name).text) if token.kind == "word" and token.text in _BODY_AFTER]
    return list(zip(ends, range(len(ends)), strict=True))
