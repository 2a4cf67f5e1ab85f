"""What a sentence is about: the rare names in it, and whether it speaks of the speaker's own.

A sentence embedder finds "the capital of Zubria" close to "the capital of Zubrovia"; the subject guard looks at the
names themselves. English and Spanish. Does not parse: a name is a word with an unusual shape (a digit, an underscore, a
capital inside), or one with a capital where a sentence asks for none.
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_][\w'’.\-]*[^\W_]|[^\W_]", re.UNICODE)
_SENTENCE_END = re.compile(r"[.!?:;¿¡\"“”«»(]\s*$|^\s*$")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OWN = _set("my mine our ours me us myself mi mis mio mia mios mias nuestro nuestra nuestros nuestras")
_YOUR_TO_MY = _set("your yours tu tus tuyo tuya su sus vuestro vuestra")
COMMON_WORDS = _set(
    """a about an and are as at be been but by can could did do does for from give had has have he her his how i if
    in is it its let list name of on or please say she should show tell that the their them then there these they this
    those to was we were what when where which while who whom whose why will with would write you
    al alguna alguno aquel cada como con cual cuales cuando cuanta cuantas cuanto cuantos da de del di dime donde el
    ella ellos en era es esa ese eso esta estas este esto estos estan fue ha hay la las le lo los me no nos o para
    pero por porque que quien quienes se ser si sin sobre son soy su sus tambien te tiene un una unas unos y ya yo"""
)


def fold(text: str) -> str:
    """Lower case, no accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def words(text: str) -> list[str]:
    """Folded words; a possessive 's is left out."""
    return [_bare(match.group()) for match in _WORD.finditer(text)]


def names(text: str) -> frozenset[str]:
    """Folded words of all names in the text."""
    return frozenset(word for run in name_runs(text) for word in run)


def name_runs(text: str) -> list[list[str]]:
    """Names as runs of words that stand side by side: "Who wrote The Amber Gate?" has [["amber", "gate"]]."""
    runs: list[list[str]] = []
    last_end = -1
    for match in _WORD.finditer(text):
        bare = _bare(match.group())
        if not _is_name(match.group(), bare, text[: match.start()]):
            continue
        if runs and not text[last_end : match.start()].strip():
            runs[-1].append(bare)
        else:
            runs.append([bare])
        last_end = match.end()
    return runs


def _is_name(word: str, bare: str, before: str) -> bool:
    if any(char.isdigit() for char in word) or any(char.isupper() for char in word[1:]) or "_" in word:
        return True
    return word[0].isupper() and bare not in COMMON_WORDS and not _SENTENCE_END.search(before)


def speaks_of_own(text: str) -> bool:
    return any(word in _OWN for word in words(text))


def same_subject(statement: str, asked: str, question: str | None = None) -> bool:
    """Whether `asked` is about what is stored: a statement, and the question it answers where there is one.

    A name (or my, our) of the stored question must be asked for. Without a stored question a name of the statement
    may be the very answer; then only a name that the statement does not know speaks against it.
    """
    stored = question or statement
    known = frozenset(words(f"{question or ''} {statement}"))
    foreign = {word for run in name_runs(asked) if not known.issuperset(run) for word in run}  # "Silver Gate"
    asked_words = frozenset(words(asked))
    if any(form in asked_words and form not in foreign for name in names(stored) for form in _forms(name)):
        return True
    if speaks_of_own(stored):
        return bool(asked_words & (_OWN | _YOUR_TO_MY))
    if names(stored) and question:
        return False
    return not foreign


def _forms(name: str) -> tuple[str, ...]:
    return name, name.rstrip("s"), f"{name}s", f"{name}es"


def _bare(word: str) -> str:
    return re.sub(r"['’]s?$", "", fold(word)).strip("'’.-")
