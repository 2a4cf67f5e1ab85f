"""The tools that settings allow, put together: a folder, the web as far as it is on, and nothing by default."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vortex.agent.mcp.client import ServerSetting
    from vortex.agent.tools.knowing import Known
    from vortex.agent.tools.toolbox import Toolbox
    from vortex.agent.web.web import Web
    from vortex.config.schema import Settings
    from vortex.knowledge.embedding import Embedder


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
    return Web(Fetcher(web.allow_domains, limits), cache, rules, log=log_file())


def toolbox_for(settings: Settings, folder: Path) -> Toolbox:
    """Files, documents, tests, commands, knowledge and, where it is on, the web. `mcp_servers` names what may join."""
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


class HouseKnowledge:
    """The memory and the store of the working folder, for tools. Nothing is opened before the first question."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    def remember(self, statement: str) -> str:
        from vortex.cli.knowing import open_memory

        return open_memory().add(statement, source="agent").id

    def recall(self, question: str, limit: int) -> list[Known]:
        from vortex.agent.tools.knowing import Known
        from vortex.cli.knowing import open_memory
        from vortex.knowledge.memory.recall import Recall

        embedder = self._embedder()
        if embedder is None:
            return []
        found = Recall(open_memory(), embedder).nearest(question, limit=limit)
        return [Known(one.entry.id, one.entry.text, f"memory, by {one.entry.source}") for one in found]

    def retrieve(self, question: str, limit: int) -> list[Known]:
        """Documents are somebody's words: what is quoted from them is untrusted."""
        from dataclasses import replace

        from vortex.agent.tools.knowing import Known
        from vortex.cli.knowing import open_store, search_options
        from vortex.knowledge.search.search import KnowledgeSearch

        options = replace(search_options(self._settings), top_k=limit)
        with open_store() as store:
            hits = KnowledgeSearch(store, self._embedder()).search(question, options)
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
        )
        for server in settings.tools.mcp
    ]
