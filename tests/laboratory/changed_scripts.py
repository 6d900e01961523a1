"""Scripts that are changed on purpose: does whoever should notice, notice?"""

from hashlib import sha1

import pytest

from harvest_tasks.server import script


def changed(monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str) -> None:
    """From here on `name`.lua is another script, with `new` in the only place of `old`."""
    real = script.load

    def load(asked: str) -> script.Script:
        loaded = real(asked)
        if asked != name:
            return loaded
        assert loaded.text.count(old) == 1
        text = loaded.text.replace(old, new)
        return script.Script(asked, text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    monkeypatch.setattr(script, "load", load)
