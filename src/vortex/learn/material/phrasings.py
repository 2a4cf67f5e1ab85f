"""Phrasings of a question by rules, in English and Spanish: what brings a fact's paraphrases.

Promises different phrasings, the question itself first, the same for the same question. Understands nothing: a
question of no known form gets frames around it. `held_back` are of other rules than `phrasings`, for the gates.
"""

from __future__ import annotations

import re

_FORMS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(r"^what(?:'s| is| was| are| were) (?P<x>.+)$", re.I),
        ("Tell me {x}.", "Do you know {x}?", "I need to know {x}.", "Please name {x}.", "{X}?"),
    ),
    (
        re.compile(r"^who (?P<v>\w+(?:ed|wrote|made|built|painted|won|led|discovered|is|was)?) (?P<x>.+)$", re.I),
        (
            "Tell me who {v} {x}.",
            "Do you know who {v} {x}?",
            "Who was it that {v} {x}?",
            "Name the person who {v} {x}.",
        ),
    ),
    (
        re.compile(r"^where (?P<v>is|are|was|were) (?P<x>.+)$", re.I),
        ("Tell me where {x} {v}.", "Do you know where {x} {v}?", "In what place {v} {x}?", "{X}: where {v} it?"),
    ),
    (
        re.compile(r"^(?:¿\s*)?cu[aá]l(?:es)? (?:es|son|era|fue) (?P<x>.+)$", re.I),
        ("Dime {x}.", "¿Sabes {x}?", "Necesito saber {x}.", "¿{X}?"),
    ),
    (
        re.compile(r"^(?:¿\s*)?qui[eé]n (?P<v>\w+) (?P<x>.+)$", re.I),
        ("Dime quién {v} {x}.", "¿Sabes quién {v} {x}?", "¿Quién fue la persona que {v} {x}?"),
    ),
)
_FRAMES = ("{q}?", "Please answer: {q}?", "{l}", "Can you tell me: {l}?", "A short question: {q}?", "Question: {q}?")
_MARCOS = ("¿{q}?", "Por favor, responde: ¿{l}?", "{l}", "Una pregunta: ¿{l}?", "Me puedes decir: ¿{l}?")
_HELD_FORMS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(r"^what(?:'s| is| was| are| were) (?P<x>.+)$", re.I),
        ("I forgot {x}. What is it?", "Could you say what {x} is?"),
    ),
    (re.compile(r"^who (?P<v>\w+) (?P<x>.+)$", re.I), ("{X}: who {v} that?", "I forgot who {v} {x}.")),
    (
        re.compile(r"^where (?P<v>is|are|was|were) (?P<x>.+)$", re.I),
        ("I am looking for {x}. Where {v} it?", "Where can I find {x}?"),
    ),
    (
        re.compile(r"^(?:¿\s*)?cu[aá]l(?:es)? (?:es|son|era|fue) (?P<x>.+)$", re.I),
        ("He olvidado {x}, ¿cuál es?", "¿Me dices {x}?"),
    ),
)
_HELD_FRAMES = ("I was wondering: {l}?", "Hello! {q}?")
_LOS_GUARDADOS = ("Me preguntaba: ¿{l}?", "Hola. ¿{q}?")


def phrasings(question: str, limit: int = 8) -> list[str]:
    bare = _bare(question)
    frames = _MARCOS if _is_spanish(question) else _FRAMES
    return _first([question.strip(), *_by_form(bare, _FORMS), *_framed(bare, frames)], limit)


def held_back(question: str, limit: int = 2) -> list[str]:
    """Paraphrases that are never trained on."""
    bare = _bare(question)
    frames = _LOS_GUARDADOS if _is_spanish(question) else _HELD_FRAMES
    seen = set(phrasings(question, 99))
    return _first([text for text in [*_by_form(bare, _HELD_FORMS), *_framed(bare, frames)] if text not in seen], limit)


def _by_form(bare: str, forms: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]) -> list[str]:
    for pattern, templates in forms:
        match = pattern.match(bare)
        if match:
            parts = match.groupdict()
            return [template.format(**parts, X=parts["x"][:1].upper() + parts["x"][1:]) for template in templates]
    return []


def _framed(bare: str, frames: tuple[str, ...]) -> list[str]:
    lower = bare if bare[:2].isupper() or bare[:2] in {"I ", "I'"} else bare[:1].lower() + bare[1:]
    return [frame.format(q=bare, l=lower) for frame in frames]


def _bare(question: str) -> str:
    return question.strip().strip("¿").rstrip("?.! ").strip() or question.strip()


def _is_spanish(text: str) -> bool:
    return bool(re.search(r"[¿ñ]|\b(?:cu[aá]l|qui[eé]n|d[oó]nde|cu[aá]ndo|el|los|las)\b", text.casefold()))


def _first(texts: list[str], limit: int) -> list[str]:
    return list(dict.fromkeys(texts))[:limit]
