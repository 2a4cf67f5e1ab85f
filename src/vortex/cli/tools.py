"""The tools that settings allow, put together: a folder, the web as far as it is on, and nothing by default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vortex.agent.mcp.client import ServerSetting
    from vortex.agent.tools.toolbox import Toolbox
    from vortex.agent.web.web import Web
    from vortex.config.schema import Settings


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
    """Files, tests, commands and the web for one folder. Knowledge and MCP servers are added by who has them."""
    from vortex.agent.tools.commands import command_tools
    from vortex.agent.tools.files import file_tools
    from vortex.agent.tools.toolbox import Toolbox
    from vortex.agent.tools.web import web_tools
    from vortex.agent.tools.workspace import Workspace
    from vortex.cli.sandbox import kept_from_commands, log_file

    protect, hide = kept_from_commands(folder.resolve())
    workspace = Workspace(folder.resolve(), protect=protect, hide=hide, log=log_file())
    web = web_tools(web_for(settings)) if settings.tools.web.enabled else []
    return Toolbox.of([*file_tools(workspace), *command_tools(workspace), *web])


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
