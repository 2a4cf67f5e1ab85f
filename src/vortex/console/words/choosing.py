"""The reader's language and look: what they chose, else what their browser asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vortex.console.words.english import ENGLISH
from vortex.console.words.spanish import SPANISH

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "es": SPANISH}
THEMES = ("auto", "light", "dark")
COOKIE = "vortex_console_look"


@dataclass(frozen=True, slots=True)
class Look:
    language: str = "en"
    theme: str = "auto"

    def translate(self, key: str, **values: Any) -> str:
        return say(self.language, key, values)

    @property
    def cookie(self) -> str:
        return f"{self.language}.{self.theme}"


def say(language: str, key: str, values: Mapping[str, Any]) -> str:
    """Plain text, escaped by whoever puts it into a page. A key that is not there is a mistake of ours."""
    text = LANGUAGES[language][key]
    return text.format(**values) if values else text


def look_of(cookie: str | None, accepted: str | None) -> Look:
    """cookie: as `Look.cookie` wrote it. accepted: the header Accept-Language."""
    language, _, theme = (cookie or "").partition(".")
    if language not in LANGUAGES:
        language = _asked_for(accepted or "")
    return Look(language, theme if theme in THEMES else "auto")


def _asked_for(accepted: str) -> str:
    """The first language of the list that there is; weights are as good as the order browsers write."""
    for part in accepted.split(","):
        language = part.partition(";")[0].strip().lower().partition("-")[0]
        if language in LANGUAGES:
            return language
    return "en"
