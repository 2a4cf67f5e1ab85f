"""Tools of MCP servers: a program in the sandbox (stdio), or an address (streamable HTTP).

Promises: a program that is started has no network, no secrets and no folder but one of its own and what its setting
lets it read; every result is untrusted; permission is per tool, and whoever is asked sees the arguments. The protocol's
own client lives on a thread of its own, so that tools stay plain functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from vortex.agent.mcp import foreign
from vortex.agent.tools.tool import Effect, Tool, ToolError, ToolResult, Trust
from vortex.agent.tools.toolbox import Permission
from vortex.errors import BackendError, ConfigError, MissingCapability
from vortex.machine.installation import add_extra
from vortex.machine.network import is_local

if TYPE_CHECKING:
    from mcp import StdioServerParameters
    from mcp.client.client import Client

START_SECONDS = 30.0
CALL_SECONDS = 120.0
LIFETIME_SECONDS = 86_400
MAX_TOOLS = 64


@dataclass(frozen=True)
class ServerSetting:
    """One server, as tools.mcp has it; exactly one of `command` and `url` is given. token_variable: the variable of the
    environment that holds what a server at a `url` wants to see, empty where it wants nothing."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    read: tuple[str, ...] = ()
    permission: Permission = Permission.ASK
    tools: Mapping[str, Permission] | None = None
    token_variable: str = ""

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ConfigError(f"tools.mcp: {self.name} needs a command or a url, and not both")
        if self.url and (urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname):
            raise ConfigError(f"tools.mcp: {self.name} has a url that is none; write it as http://127.0.0.1:9000/mcp")
        if self.token_variable and not self.is_local and urlsplit(self.url).scheme != "https":
            raise ConfigError(f"tools.mcp: {self.name} would send its token in the open; use an https url")

    @property
    def is_local(self) -> bool:
        """It is on this machine."""
        return not self.url or is_local(self.url)


class McpConnection:
    """One server while it is connected. Use as a context manager."""

    def __init__(self, setting: ServerSetting, *, offline: bool = False) -> None:
        if find_spec("mcp") is None:
            raise MissingCapability(f"MCP servers need the protocol's package: {add_extra('agent')}")
        if offline and not setting.is_local:
            raise BackendError(f"tools.mcp: {setting.name} is on the network and this run is offline")
        self.setting = setting
        self._requests: asyncio.Queue[tuple[str, dict[str, Any], Future[ToolResult]] | None] = asyncio.Queue()
        self._started: queue.Queue[BaseException | list[Any]] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"mcp-{setting.name}")

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="vortex-mcp-")
        self._thread.start()
        try:
            found = self._started.get(timeout=START_SECONDS)
        except queue.Empty:
            found = TimeoutError(f"no answer in {START_SECONDS:g} s")
        if isinstance(found, BaseException):
            self.__exit__()
            raise BackendError(f"MCP server {self.setting.name} could not be started: {_reason(found)}")
        self._tools = found[:MAX_TOOLS]
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._requests.put_nowait, None)
        self._thread.join(START_SECONDS)
        self._folder.cleanup()

    def tools(self) -> list[Tool]:
        return [
            Tool(
                foreign.tool_name(self.setting.name, tool.name),
                foreign.description(self.setting.name, tool.description or ""),
                foreign.schema(tool.input_schema),
                Effect.FOREIGN,
                partial(self.call, tool.name),
            )
            for tool in self._tools
        ]

    def permissions(self) -> dict[str, Permission]:
        """By the names that `tools` gives."""
        named = self.setting.tools or {}
        return {
            foreign.tool_name(self.setting.name, tool.name): named.get(tool.name, self.setting.permission)
            for tool in self._tools
        }

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        answer: Future[ToolResult] = Future()
        self._loop.call_soon_threadsafe(self._requests.put_nowait, (name, dict(arguments), answer))
        try:
            return answer.result(CALL_SECONDS)
        except TimeoutError as error:
            raise ToolError(f"{self.setting.name} did not answer in {CALL_SECONDS:g} s") from error

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._started.put(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Connect, tell what there is, and serve calls one after the other until told to end."""
        async with self._client() as client:
            self._started.put(list((await client.list_tools()).tools))
            while (request := await self._requests.get()) is not None:
                name, arguments, answer = request
                try:
                    answer.set_result(await self._ask(client, name, arguments))
                except Exception as error:
                    answer.set_exception(ToolError(f"{self.setting.name}: {_reason(error)}"))

    async def _ask(self, client: Client, name: str, arguments: dict[str, Any]) -> ToolResult:
        result = await client.call_tool(name, arguments)
        texts = [getattr(block, "text", None) for block in result.content]
        body = "\n".join(text for text in texts if isinstance(text, str))
        notes = ("parts that are not text were left out",) if None in texts else ()
        source = f"tool {name} of MCP server {self.setting.name}"
        return ToolResult(body, Trust.UNTRUSTED, source, not result.is_error, notes)

    def _client(self) -> Client:
        from mcp.client.client import Client

        if self.setting.command:
            return Client(self._program(), read_timeout_seconds=CALL_SECONDS)
        return Client(self._over_http(), read_timeout_seconds=CALL_SECONDS)

    @contextlib.asynccontextmanager
    async def _over_http(self) -> AsyncIterator[Any]:
        """Streamable HTTP to that address: no proxy and no credential of the environment but the token it names."""
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        token = os.environ.get(self.setting.token_variable, "") if self.setting.token_variable else ""
        if self.setting.token_variable and not token:
            raise ConfigError(f"tools.mcp: {self.setting.name} wants the variable {self.setting.token_variable}")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx2.Timeout(START_SECONDS, read=CALL_SECONDS)
        async with (
            httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as http,
            streamable_http_client(self.setting.url, http_client=http) as streams,
        ):
            yield streams

    def _program(self) -> StdioServerParameters:
        from mcp import StdioServerParameters

        reads = [part for path in self.setting.read for part in ("--read", path)]
        limits = ["--time", str(LIFETIME_SECONDS)]
        walls = ["-m", "vortex", "sandbox", *limits, *reads, "--", *self.setting.command]
        return StdioServerParameters(command=sys.executable, args=walls, cwd=self._folder.name)


def permissions_of(connections: Sequence[McpConnection]) -> dict[str, Permission]:
    return {name: permission for connection in connections for name, permission in connection.permissions().items()}


def _reason(error: BaseException) -> str:
    """The innermost reason of an error that task groups wrapped."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return str(error) or type(error).__name__
