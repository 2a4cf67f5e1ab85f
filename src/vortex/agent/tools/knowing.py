"""Tools on what is known: remember, recall, retrieve, open a document. Knowledge itself is handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vortex.agent.tools.tool import Effect, Tool, ToolResult, Trust, number, schema, text

DEFAULT_LIMIT = 5


@dataclass(frozen=True)
class Known:
    """One thing found. `source` is what an answer may cite; `from_outside`: nobody here wrote it."""

    id: str
    text: str
    source: str
    from_outside: bool = False


class Knowledge(Protocol):
    """What the room of knowledge gives to tools."""

    def remember(self, statement: str) -> str:
        """Keep a statement for later conversations; its id."""
        ...

    def recall(self, question: str, limit: int) -> Sequence[Known]:
        """What was remembered and is about the question, best first; nothing where nothing is."""
        ...

    def retrieve(self, question: str, limit: int) -> Sequence[Known]:
        """Passages of ingested documents about the question, best first."""
        ...


class Documents(Protocol):
    def read_document(self, path: str) -> tuple[str, str]:
        """Title and text of a document of the working folder, of whatever kind. Raises VortexError."""
        ...


def knowledge_tools(knowledge: Knowledge) -> list[Tool]:
    limit = number("Most results.")
    return [
        Tool(
            "remember",
            "Keep a fact for later conversations.",
            schema(("statement",), statement=text("One sentence that stands by itself.")),
            Effect.REMEMBER,
            lambda arguments: ToolResult(f"kept as {knowledge.remember(arguments['statement'])}"),
        ),
        Tool(
            "recall",
            "Look up what was remembered.",
            schema(("question",), question=text("What to look for."), limit=limit),
            Effect.READ,
            lambda arguments: found(knowledge.recall(arguments["question"], _limit(arguments)), "memory"),
        ),
        Tool(
            "retrieve",
            "Look up passages of the documents that were taken in.",
            schema(("question",), question=text("What to look for."), limit=limit),
            Effect.READ,
            lambda arguments: found(knowledge.retrieve(arguments["question"], _limit(arguments)), "documents"),
        ),
    ]


def document_tool(documents: Documents) -> Tool:
    """Reads PDF, HTML, Markdown, tables, code and plain text."""

    def open_document(arguments: Mapping[str, Any]) -> ToolResult:
        title, content = documents.read_document(arguments["path"])
        return ToolResult(content, Trust.WORKSPACE, f"{arguments['path']} ({title})")

    return Tool(
        "open_document",
        "Read a document: PDF, HTML, Markdown, a table or plain text.",
        schema(("path",), path=text("Path from the working folder.")),
        Effect.READ,
        open_document,
    )


def found(results: Sequence[Known], source: str) -> ToolResult:
    if not results:
        return ToolResult("nothing was found")
    body = "\n\n".join(f"[{one.id}] {one.text}\n(from {one.source})" for one in results)
    outside = any(one.from_outside for one in results)
    return ToolResult(body, Trust.UNTRUSTED if outside else Trust.WORKSPACE, source)


def _limit(arguments: Mapping[str, Any]) -> int:
    return min(int(arguments.get("limit", DEFAULT_LIMIT)), 20)
