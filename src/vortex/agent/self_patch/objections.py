"""What a patch of the program itself must not do: touch what judges it, or reach for the judge while it runs.

An allow-list first (plain changes of text in sources and documents), then what is protected there, then lines that a
source has no reason to hold unless it looks at its own judges. A person who wants such a change makes it by hand;
this is about what may come through the queue. Promises: judged by the diff alone, again when it is let in.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from vortex.agent.diff import FileDiff, read_diff
from vortex.agent.patch import patch_id
from vortex.agent.protected import why_protected
from vortex.errors import AgentStopped

ALLOWED_ROOTS = ("src", "docs", "native", "scripts")
ALLOWED_TOP = ("README.md",)
ALLOWED_SUFFIXES = (".py", ".pyi", ".md", ".cpp", ".cc", ".h", ".hpp", ".c")
MAX_CHANGED_LINES = 400
REACHES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("names a test framework", re.compile(r"\b(?:_?pytest|unittest|hypothesis|nose|doctest|conftest|pluggy)\b")),
    ("looks whether it is being tested", re.compile(r"PYTEST_|sys\.modules|C3RNT2_NO_NET|VORTEX_SANDBOX")),
    ("ends the process beside the judge", re.compile(r"\bos\._exit\b|\batexit\b|\bos\.kill\b|\bsignal\.(?:sig|al)")),
    ("changes how code runs", re.compile(r"sys\.set(?:trace|profile)|\bbuiltins\b|__builtins__|\bgc\.get_|\bctypes\b")),
    ("runs text as code", re.compile(r"\b(?:eval|exec|compile|__import__)\s*\(|importlib|\bpickle\b|marshal")),
    ("starts programs", re.compile(r"\bsubprocess\b|\bos\.(?:system|popen|exec|spawn|fork)|\bpty\b|shell\s*=\s*True")),
    ("reaches the network", re.compile(r"\bsocket\b|\burllib\b|\brequests\b|\bhttpx\b|\baiohttp\b")),
    ("silences a check", re.compile(r"type:\s*ignore|#\s*noqa|pragma:\s*no|except\s*(?:(?:Base)?Exception)?\s*:")),
    ("names what judges or approves", re.compile(r"\btests?/|\.github|\.ci\b|approve|data/|quarantine", re.I)),
)  # fmt: skip


def objections(diff: str, expected_id: str | None = None) -> list[str]:
    """Why the patch is not let in; nothing where nothing speaks against it. `expected_id`: what it was queued as."""
    if expected_id is not None and patch_id(diff) != expected_id:
        return [f"the diff is not the one that was proposed as {expected_id}"]
    try:
        files = read_diff(diff)
    except AgentStopped as error:
        return [str(error)]
    found = [why for one in files for why in _objections_to(one)]
    changed = sum(len(one.added) + len(one.removed) for one in files)
    if changed > MAX_CHANGED_LINES:
        found.append(f"{changed} changed lines are more than a person reads with care ({MAX_CHANGED_LINES})")
    return found


def _objections_to(one: FileDiff) -> list[str]:
    why = why_protected(one.path, own=True)
    if why is not None:
        return [f"{one.path}: {why}"]
    path = PurePosixPath(one.path)
    inside = path.parts[0] in ALLOWED_ROOTS and len(path.parts) > 1
    if not (inside or one.path in ALLOWED_TOP) or path.suffix not in ALLOWED_SUFFIXES:
        return [f"{one.path}: neither source nor document of the program"]
    if one.is_gone:
        return [f"{one.path}: a patch takes no file away"]
    found = [f"{one.path}: it holds characters that are not seen" for line in one.added if _is_unseen(line)][:1]
    if path.suffix != ".md":
        old = set(one.removed)
        for line in one.added:
            if line in old:
                continue
            found += [f"{one.path}: a line that {what}" for what, pattern in REACHES if pattern.search(line)]
    return list(dict.fromkeys(found))


def _is_unseen(line: str) -> bool:
    """Characters that show a reader another text than a compiler reads."""
    return any(unicodedata.category(one) in {"Cf", "Cc", "Co", "Cn", "Zl", "Zp"} and one != "\t" for one in line)
