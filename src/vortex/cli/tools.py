"""The tools that settings allow, put together: a folder, the web as far as it is on, and nothing by default."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vortex.agent.mcp.client import ServerSetting
    from vortex.agent.tools.knowing import Known
    from vortex.agent.tools.tool import Effect, Tool
    from vortex.agent.tools.toolbox import Permission, Toolbox
    from vortex.agent.web.web import Web
    from vortex.config.schema import Settings
    from vortex.knowledge.embedding import Embedder
    from vortex.knowledge.search.vectors import VectorIndex


def web_for(settings: Settings) -> Web:
    """The web under these settings; off where it is not enabled, or where this run is offline (C3RNT2_NO_NET=1)."""
    import platformdirs

    from vortex.agent.web.cache import PageCache
    from vortex.agent.web.fetching import Fetcher, FetchLimits
    from vortex.agent.web.sanitising import SanitizeRules
    from vortex.agent.web.web import Web
    from vortex.cli.sandbox import log_file

    web, kept = settings.tools.web, settings.continuous.ingest.web.sanitize
    rules = SanitizeRules(kept.max_chars, kept.max_instruction_density, kept.max_repeat_lines)
    if settings.runtime.offline:
        return Web(None, rules=rules, why_off="the web is off: this run is offline (C3RNT2_NO_NET or runtime.offline)")
    if not web.enabled:
        return Web(None, rules=rules)
    limits = FetchLimits(web.max_bytes, web.timeout_s, web.requests_per_minute)
    cache = PageCache(platformdirs.user_cache_path("vortex") / "web", web.cache_hours)
    fetcher = Fetcher(web.allow_domains, limits)
    return Web(fetcher, cache, rules, log=log_file(), search_page=web.search_page)


def toolbox_for(settings: Settings, folder: Path) -> Toolbox:
    """Files, documents, tests, commands, knowledge and, where it is on, the web; what `vortex mcp` serves."""
    from vortex.agent.tools.commands import command_tools
    from vortex.agent.tools.files import file_tools
    from vortex.agent.tools.knowing import document_tool, knowledge_tools
    from vortex.agent.tools.toolbox import Toolbox
    from vortex.agent.tools.web import web_tools
    from vortex.agent.tools.workspace import Workspace
    from vortex.cli.sandbox import kept_from_commands, log_file

    protect, hide = kept_from_commands(folder.resolve())
    workspace = Workspace(folder.resolve(), protect=protect, hide=hide, log=log_file())
    web = web_tools(web_for(settings)) if settings.tools.web.enabled else []
    known = knowledge_tools(HouseKnowledge(settings))
    return Toolbox.of([*file_tools(workspace), document_tool(workspace), *command_tools(workspace), *known, *web])


@dataclass(frozen=True, slots=True)
class JoinedTools:
    """What joins a free run beside the tools of its folder, and what was said about permission, by effect and by tool.
    A word of the command line goes before the settings, and both before what a server's own setting says."""

    tools: tuple[Tool, ...] = ()
    by_effect: Mapping[Effect, Permission] | None = None
    by_tool: Mapping[str, Permission] | None = None


@contextmanager
def joined_tools(settings: Settings, words: Mapping[str, Permission]) -> Iterator[JoinedTools]:
    """Memory and documents of this working folder where there are any, the web where it is on, and the tools of MCP
    servers, which are connected until the end. A server that cannot be had is told and left out."""
    from vortex.agent.mcp.client import McpConnection, permissions_of
    from vortex.agent.tools.knowing import knowledge_tools
    from vortex.agent.tools.toolbox import permissions_given
    from vortex.agent.tools.web import web_tools
    from vortex.cli.terminal import warn
    from vortex.errors import BackendError, MissingCapability

    tools = [tool for tool in knowledge_tools(HouseKnowledge(settings)) if tool.name in _of_use()]
    if settings.tools.web.enabled:
        tools += web_tools(web_for(settings))
    connections: list[McpConnection] = []
    with ExitStack() as stack:
        for server in mcp_servers(settings):
            try:
                connection = McpConnection(server, offline=settings.runtime.offline)
                connections.append(stack.enter_context(connection))
            except (BackendError, MissingCapability) as error:
                warn(f"{error}; its tools are left out")
        tools += [tool for connection in connections for tool in connection.tools()]
        by_effect, by_tool = permissions_given(read_permissions(settings.tools.permissions) | dict(words))
        yield JoinedTools(tuple(_without_doubles(tools)), by_effect, {**permissions_of(connections), **by_tool})


def read_permissions(words: Sequence[str] | None) -> dict[str, Permission]:
    """`NAME=allow` and its like, as --permit and tools.permissions have them. Raises ConfigError."""
    from vortex.agent.tools.toolbox import Permission
    from vortex.errors import ConfigError

    found = {}
    for word in words or ():
        name, _, permission = word.partition("=")
        if not name or permission not in {kind.value for kind in Permission}:
            raise ConfigError(f"'{word}' is no permission; write a tool or an effect, and allow, ask or block: x=ask")
        found[name] = Permission(permission)
    return found


def _of_use() -> set[str]:
    """A model that is offered a tool calls it: looking things up is offered where there is something to find."""
    from vortex.cli.knowing import open_memory, store_path

    found = {"remember"}
    if store_path().exists():
        found.add("retrieve")
    if open_memory().entries():
        found.add("recall")
    return found


def _without_doubles(tools: Sequence[Tool]) -> Iterator[Tool]:
    from vortex.cli.terminal import warn

    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            warn(f"two tools are called {tool.name}; the first is taken: give their servers different names")
            continue
        seen.add(tool.name)
        yield tool


class HouseKnowledge:
    """The memory and the store of the working folder, for tools. Nothing is opened before the first question."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._index: VectorIndex | None = None

    def remember(self, statement: str) -> str:
        from vortex.cli.knowing import open_memory

        return open_memory().add(statement, source="agent").id

    def recall(self, question: str, limit: int) -> list[Known]:
        """Raises MissingCapability without an embedder."""
        from vortex.agent.tools.knowing import Known
        from vortex.cli.knowing import open_memory
        from vortex.errors import MissingCapability
        from vortex.knowledge.memory.recall import Recall

        embedder = self._embedder()
        if embedder is None:
            raise MissingCapability("recalling needs the embedder: vortex pull all-minilm-l6-v2")
        found = Recall(open_memory(), embedder).nearest(question, limit=limit)
        return [Known(one.entry.id, one.entry.text, f"memory, by {one.entry.source}") for one in found]

    def retrieve(self, question: str, limit: int) -> list[Known]:
        """Documents are somebody's words: what is quoted from them is untrusted."""
        from dataclasses import replace

        from vortex.agent.tools.knowing import Known
        from vortex.cli.knowing import open_store, search_options
        from vortex.knowledge.search.search import KnowledgeSearch
        from vortex.knowledge.search.vectors import VectorIndex

        options = replace(search_options(self._settings), top_k=limit)
        with self._one_at_a_time, open_store() as store:
            self._index = self._index or VectorIndex()
            hits = KnowledgeSearch(store, self._embedder(), index=self._index).search(question, options)
        passages = [hit.passage for hit in hits]
        return [Known(str(one.id), one.text, f"{one.path}, {one.place}", from_outside=True) for one in passages]

    def _embedder(self) -> Embedder | None:
        from vortex.cli.knowing import open_embedder

        with self._lock:
            if not hasattr(self, "_opened"):
                self._opened = open_embedder(self._settings, fetch=False)
            return self._opened


def mcp_servers(settings: Settings) -> list[ServerSetting]:
    from vortex.agent.mcp.client import ServerSetting
    from vortex.agent.tools.toolbox import Permission

    return [
        ServerSetting(
            server.name,
            server.command,
            server.url,
            server.read,
            Permission(server.permission),
            {name: Permission(permission) for name, permission in server.tools.items()},
            server.token_variable,
        )
        for server in settings.tools.mcp
    ]
