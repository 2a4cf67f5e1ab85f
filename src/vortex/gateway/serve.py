"""The gateway as a process: one line that says where it listens, then requests until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator

from vortex.config.addresses import environment_and_file
from vortex.errors import ConfigError, VortexError
from vortex.gateway.app import Gateway
from vortex.gateway.http.front import BACKLOG, Front
from vortex.gateway.http.wire import Limits
from vortex.gateway.settings import VARIABLES, GatewaySettings, read_settings
from vortex.records.system import stop_signals

SHUTDOWN_S = 5
GC_THRESHOLDS = (20_000, 20, 50)
SECRET = re.compile(r"(?i)(bearer\s+|api[-_]?key[\"'=:\s]+)[^\s\"',}]+")

log = logging.getLogger("vortex.gateway")


class Redact(logging.Filter):
    """Keys never reach a log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = SECRET.sub(r"\1***", record.getMessage())
        record.args = ()
        return True


def run(settings: GatewaySettings) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigError where the address cannot be had."""
    _start_log()
    addresses = settings.addresses
    listener = listen(addresses.host, addresses.port)
    gc.collect()
    gc.freeze()  # what start-up made stays: collections look at requests' rubbish only, and stop the loop for less long
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, listener))


async def _serve(settings: GatewaySettings, listener: socket.socket) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in stop_signals():
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(told.set))
    async with serving(settings, listener):
        engines = ", ".join(settings.addresses.engine_urls)
        where = f"http://{settings.addresses.host}:{listener.getsockname()[1]}"
        log.info("listening on %s, engines: %s (%s)", where, engines, settings.decision.strategy)
        await told.wait()


@contextlib.asynccontextmanager
async def serving(settings: GatewaySettings, listener: socket.socket) -> AsyncIterator[Gateway]:
    """A gateway that answers on a listening socket until the block ends."""
    gateway = Gateway(settings)
    limits = Limits(settings.admission.max_body_bytes, settings.timeouts.client_stall_s)
    front = Front(gateway, limits)
    await gateway.start()
    await front.start(listener)
    try:
        yield gateway
    finally:
        await front.stop(SHUTDOWN_S)
        await gateway.stop()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError naming the variable to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"LKN_HOST={host} LKN_PORT={port}: {error.strerror}; choose another or stop its user"
        ) from None
    listener.setblocking(False)
    return listener


def _start_log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(Redact())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vortex.gateway", description="L-kn, the homeostatic gateway.")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--engine-url", help="engines without /v1, several with commas")
    parser.add_argument("--check", action="store_true", help="only say whether the settings are right")
    options = parser.parse_args(arguments)
    try:
        settings = settings_from(options.host, options.port, options.engine_url)
        if not options.check:
            run(settings)
    except VortexError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def settings_from(host: str | None, port: int | None, engine_url: str | None) -> GatewaySettings:
    environment, env_file = environment_and_file(VARIABLES)
    return read_settings(environment, env_file, LKN_HOST=host, LKN_PORT=port, ENGINE_BASE_URL=engine_url)
