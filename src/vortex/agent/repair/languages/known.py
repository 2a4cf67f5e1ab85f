"""Which language a file is written in."""

from __future__ import annotations

from pathlib import PurePosixPath

from vortex.agent.repair.languages.javascript import JavaScript
from vortex.agent.repair.languages.language import Language
from vortex.agent.repair.languages.python import Python


def language_of(path: str) -> Language | None:
    """By the file's ending; None where it is none of ours, or its grammar is not installed."""
    suffix = PurePosixPath(path).suffix
    languages: tuple[Language, ...] = Python(), JavaScript()
    return next((one for one in languages if suffix in one.suffixes and one.is_installed()), None)
