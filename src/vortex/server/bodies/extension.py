"""Vortex's own field of a chat request: `"vortex": {"rag": false}` or `{"rag": {"sources": ["docs"]}}`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vortex.server.bodies.reading import Part


class RagSources(Part):
    sources: list[str] = Field(max_length=64)


class Extension(Part):
    """`rag` false: this question is not looked up; with sources: only there; null or true: as the server is set."""

    rag: RagSources | Literal[True, False] | None = None

    @property
    def wants_no_sources(self) -> bool:
        return self.rag is False

    @property
    def sources(self) -> tuple[str, ...] | None:
        return tuple(self.rag.sources) if isinstance(self.rag, RagSources) else None
