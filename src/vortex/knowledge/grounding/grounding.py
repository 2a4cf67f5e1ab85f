"""A conversation with what was found for it: quotations stand before the last question, after all that is stable.

Promises that nothing found changes nothing (the very same messages), that an earlier question of the conversation keeps
the quotations it had, so that every new turn continues the prefix that the cache holds, and that a passage which is in
the conversation already is not quoted twice. Remembers the last conversations only; one it forgot goes on without their
earlier quotations. One object a thread.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vortex.knowledge.grounding.citing import Citation, cite
from vortex.knowledge.grounding.quoting import MIN_EXCERPT_CHARS, Quotation, block, clean, excerpt
from vortex.knowledge.memory.entries import Kind
from vortex.knowledge.memory.recall import Recall
from vortex.knowledge.search.search import Hit, KnowledgeSearch, SearchOptions
from vortex.knowledge.store.reading import Filter
from vortex.knowledge.terms import query_terms
from vortex.types import ChatMessage

MAX_REMEMBERED = 1024  # questions
MAX_BLOCKS = 4  # times max_chars: more quotations than that in one conversation, and it begins anew
SHORT_QUESTION_TERMS = 2
MAX_FACTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingOptions:
    """`max_chars`: of the quoted texts of one question together."""

    search: SearchOptions = field(default_factory=SearchOptions)
    max_chars: int = 4000


@dataclass(frozen=True, slots=True)
class Grounded:
    """`messages`: to ask with. `quotations`: all that stand in them, in order."""

    messages: tuple[ChatMessage, ...]
    quotations: tuple[Quotation, ...] = ()
    question: str = ""

    def citations(self, answer: str) -> list[Citation]:
        return cite(answer, self.question, self.quotations)


class Grounding:
    """search, recall: either may be None: no documents, or no memory. on_close: gives their files back."""

    def __init__(
        self,
        search: KnowledgeSearch | None,
        options: GroundingOptions,
        recall: Recall | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._search = search
        self._recall = recall
        self._options = options
        self.close = on_close
        self._given: OrderedDict[bytes, tuple[Quotation, ...]] = OrderedDict()

    def ground(self, messages: Sequence[ChatMessage], sources: Sequence[str] | None = None) -> Grounded:
        """sources: only from these; None: from all. Raises StorageError."""
        asked = [index for index, message in enumerate(messages) if message.role == "user"]
        if not asked or asked[-1] != len(messages) - 1:
            return Grounded(tuple(messages))  # a tool's answer comes last: the question was looked up before it
        keys = _keys(messages, asked, sources)
        earlier = [self._given.get(key, ()) for key in keys[:-1]]
        if sum(len(one.text) for ones in earlier for one in ones) > MAX_BLOCKS * self._options.max_chars:
            earlier = [() for _ in earlier]
        shown = [one for ones in earlier for one in ones]
        question = messages[-1].content
        found = self._given.get(keys[-1])  # asked again: the same quotations
        if found is None:
            found = self._quotations(messages, asked, sources, shown)
        self._remember(keys[-1], found)
        given = dict(zip(asked, [*earlier, found], strict=True))
        grounded = tuple(_with(message, given.get(index, ())) for index, message in enumerate(messages))
        return Grounded(grounded, (*shown, *found), question)

    def _quotations(
        self,
        messages: Sequence[ChatMessage],
        asked: Sequence[int],
        sources: Sequence[str] | None,
        shown: Sequence[Quotation],
    ) -> tuple[Quotation, ...]:
        question = messages[-1].content
        hits = self._hits(question, sources)
        if not hits and len(asked) > 1 and len(query_terms(question)) <= SHORT_QUESTION_TERMS:
            question = f"{messages[asked[-2]].content}\n{question}"  # "and why?" is about what was asked before
            hits = self._hits(question, sources)
        known = {one.key for one in shown}
        number = max((one.number for one in shown), default=0)
        found: list[Quotation] = []
        left = self._options.max_chars
        pieces = [*self._facts(question, sources), *(_from_hit(hit) for hit in hits)]
        pieces = [piece for piece in pieces if piece.key not in known]
        for index, piece in enumerate(pieces):
            share = max(MIN_EXCERPT_CHARS, left // (len(pieces) - index))
            text = excerpt(clean(piece.text), question, share)
            if len(text) > left:
                break
            left -= len(text)
            found.append(dataclasses.replace(piece, text=text))
        found.sort(key=lambda piece: piece.key)  # not by rank: see quoting.py
        return tuple(dataclasses.replace(piece, number=number + place) for place, piece in enumerate(found, 1))

    def _hits(self, question: str, sources: Sequence[str] | None) -> list[Hit]:
        if self._search is None:
            return []
        wanted = Filter(sources=tuple(sources)) if sources is not None else Filter()
        return self._search.search(question, dataclasses.replace(self._options.search, filter=wanted))

    def _facts(self, question: str, sources: Sequence[str] | None) -> list[Quotation]:
        if self._recall is None or sources is not None:
            return []
        return [
            Quotation(
                number=0,
                key=f"0memory/{one.entry.id}/{hashlib.blake2b(one.entry.text.encode(), digest_size=6).hexdigest()}",
                source=f"memory/{one.entry.id}",
                title="remembered",
                place="",
                heading="",
                text=one.entry.text,
                similarity=one.similarity,
            )
            for one in self._recall.nearest(question, kind=Kind.FACT, limit=MAX_FACTS)
        ]

    def _remember(self, key: bytes, found: tuple[Quotation, ...]) -> None:
        self._given[key] = found
        self._given.move_to_end(key)
        while len(self._given) > MAX_REMEMBERED:
            self._given.popitem(last=False)


def _from_hit(hit: Hit) -> Quotation:
    passage = hit.passage
    return Quotation(
        number=0,
        key=f"1{passage.path}\0{passage.line:08d}\0{passage.id:012d}",
        source=passage.path,
        title=passage.title,
        place=passage.place,
        heading=passage.heading,
        text=passage.text,
        similarity=hit.similarity,
    )


def _with(message: ChatMessage, quotations: Sequence[Quotation]) -> ChatMessage:
    if not quotations:
        return message
    return dataclasses.replace(message, content=f"{block(quotations)}\n\nQuestion: {message.content}")


def _keys(messages: Sequence[ChatMessage], asked: Sequence[int], sources: Sequence[str] | None) -> list[bytes]:
    """Of each question: a hash of the conversation up to it."""
    hasher = hashlib.blake2b(repr(None if sources is None else sorted(sources)).encode(), digest_size=16)
    keys = []
    for index, message in enumerate(messages):
        hasher.update(f"{message.role}\0{len(message.content)}\0{message.content}".encode("utf-8", "surrogatepass"))
        if index in asked:
            keys.append(hasher.digest())
    return keys
