"""Tools on the web: search and open. What they bring is anybody's words and labelled so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.agent.tools.tool import Effect, Tool, ToolResult, Trust, schema, text
from vortex.agent.web.web import Web


def web_tools(web: Web) -> list[Tool]:
    def open_page(arguments: Mapping[str, Any]) -> ToolResult:
        page = web.open(arguments["url"])
        notes = (f"{len(page.removed)} pieces addressed to a model were taken out",) if page.removed else ()
        return ToolResult(f"{page.title}\n\n{page.text}", Trust.UNTRUSTED, page.url, notes=notes)

    def search(arguments: Mapping[str, Any]) -> ToolResult:
        found = web.search(arguments["query"])
        body = "\n".join(f"{number}. {host}: {url}" for number, (host, url) in enumerate(found, 1))
        return ToolResult(body or "nothing on the allowed domains", Trust.UNTRUSTED, "web search")

    return [
        Tool(
            "web_search",
            "Search the allowed web sites.",
            schema(("query",), query=text("Words.")),
            Effect.NETWORK,
            search,
        ),
        Tool(
            "web_open",
            "Read a web page of an allowed site.",
            schema(("url",), url=text("Address.")),
            Effect.NETWORK,
            open_page,
        ),
    ]
