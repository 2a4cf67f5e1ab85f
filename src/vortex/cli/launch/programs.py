"""What each program has to be told so that it talks to this machine's server: variables, arguments, a file of ours.

Nothing of the user's own settings is written or changed: a program gets its words for this run alone. Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """address: without `/v1`. key: what clients send; any word where none is asked for."""

    address: str
    model: str
    key: str = "none"
    context_tokens: int | None = None

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """variables: for the program's environment. config: text of a file that stands for `{config}` in the arguments."""

    variables: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    config: str = ""
    config_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """executable: as it is called. install: the command that brings it."""

    title: str
    executable: str
    install: str
    tell: Callable[[Server], Told]


def _claude(server: Server) -> Told:
    names = ("ANTHROPIC_MODEL", *(f"ANTHROPIC_DEFAULT_{size}_MODEL" for size in ("OPUS", "SONNET", "HAIKU")))
    return Told(
        variables={
            "ANTHROPIC_BASE_URL": server.address,
            "ANTHROPIC_AUTH_TOKEN": server.key,
            **dict.fromkeys(names, server.model),
            "CLAUDE_CODE_SUBAGENT_MODEL": server.model,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
    )


def _codex(server: Server) -> Told:
    provider = f'{{name="Vortex",base_url="{server.base_url}",wire_api="responses",env_key="VORTEX_API_KEY"}}'
    settings = ["model_provider=vortex", f"model_providers.vortex={provider}", 'web_search="disabled"']
    if server.context_tokens:
        settings.append(f"model_context_window={server.context_tokens}")
    arguments = [word for setting in settings for word in ("-c", setting)]
    return Told(variables={"VORTEX_API_KEY": server.key}, arguments=["-m", server.model, *arguments])


def _opencode(server: Server) -> Told:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Vortex",
        "options": {"baseURL": server.base_url, "apiKey": server.key},
        "models": {server.model: {"name": server.model, "tools": True}},
    }
    config = {"provider": {"vortex": provider}, "model": f"vortex/{server.model}"}
    return Told(variables={"OPENCODE_CONFIG_CONTENT": json.dumps(config)})


def _aider(server: Server) -> Told:
    variables = {"OPENAI_API_BASE": server.base_url, "OPENAI_API_KEY": server.key}
    return Told(variables=variables, arguments=["--model", f"openai/{server.model}", "--no-show-model-warnings"])


def _continue(server: Server) -> Told:
    model = {
        "name": server.model,
        "provider": "openai",
        "model": server.model,
        "apiBase": server.base_url,
        "apiKey": server.key,
        "roles": ["chat", "edit", "apply"],
        "capabilities": ["tool_use"],
    }
    config = {"name": "Vortex", "version": "1.0.0", "schema": "v1", "models": [model]}
    return Told(arguments=["--config", "{config}"], config=json.dumps(config, indent=2), config_name="continue.yaml")


PROGRAMS = {
    "claude": Program(
        title="Claude Code", executable="claude", install="npm install -g @anthropic-ai/claude-code", tell=_claude
    ),
    "codex": Program(title="Codex", executable="codex", install="npm install -g @openai/codex", tell=_codex),
    "opencode": Program(title="opencode", executable="opencode", install="npm install -g opencode-ai", tell=_opencode),
    "aider": Program(title="aider", executable="aider", install="pip install aider-chat", tell=_aider),
    "continue": Program(title="Continue", executable="cn", install="npm install -g @continuedev/cli", tell=_continue),
}
