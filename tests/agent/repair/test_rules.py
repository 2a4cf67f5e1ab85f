"""Repairs that a message names: imports, keys and names that are nearly others."""

from __future__ import annotations

import pytest

from vortex.agent.repair.rules import changes_by_rule

TEXT = '''"""Doc."""
import os


def table():
    return {"price": 1, "amount": 2}


def total(items):
    return sum(one["prize"] for one in items) + len(os.sep)


def counted(words):
    return Counter(words)


def rooted(number):
    return maths_root(number)


def mathsroot(number):
    return number
'''


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("NameError: name 'Counter' is not defined", "import os\nfrom collections import Counter\n"),
        ("NameError: name 'json' is not defined", "import os\nimport json\n"),
        ("NameError: name 'maths_root' is not defined", "    return mathsroot(number)\n"),
        ("KeyError: 'prize'", 'one["price"]'),
    ],
)
def test_a_message_names_its_repair(message: str, expected: str) -> None:
    assert any(expected in change.text for change in changes_by_rule(TEXT, [message]))


def test_other_messages_and_broken_files_name_none() -> None:
    assert list(changes_by_rule(TEXT, ["AssertionError: 1 != 2"])) == []
    assert list(changes_by_rule("def broken(", ["NameError: name 'json' is not defined"])) == []
