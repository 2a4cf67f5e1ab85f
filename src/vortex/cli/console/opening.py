"""Composition of the console: its desks, its doors, and the note that tells `vortex console` where a server is."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vortex.config.data_folder import data_path
from vortex.config.loading import LoadedSettings

if TYPE_CHECKING:
    from vortex.console.app import Console
    from vortex.console.doors import Doors


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves a console. data: its data folder."""

    url: str
    data: str
    pid: int


def console_folder() -> Path:
    """This user's own, never the folder that is worked in: whoever writes here can come in."""
    import platformdirs

    return platformdirs.user_state_path("vortex") / "console"


def open_doors() -> Doors:
    from vortex.console.doors import Doors

    return Doors(console_folder())


def open_console(loaded: LoadedSettings) -> Console:
    from vortex.cli.console.candidates import LearningDesk
    from vortex.cli.console.gateway_figures import GatewayDesk
    from vortex.cli.console.memories import MemoryDesk
    from vortex.cli.console.patches import PatchDesk
    from vortex.cli.console.questions import QuestionDesk
    from vortex.console.app import Console
    from vortex.console.contracts import Desks

    def model_name() -> str:
        from vortex.cli.composition import resolve_model

        if loaded.settings.model.backend not in {"local", "hf"}:
            return loaded.settings.model.name
        return resolve_model(loaded).name

    desks = Desks(
        candidates=LearningDesk(loaded, model_name),
        patches=PatchDesk(Path.cwd()),
        memories=MemoryDesk(),
        questions=QuestionDesk(),
        gateway=GatewayDesk(),
    )
    return Console(desks, open_doors())


@contextlib.contextmanager
def noted(url: str) -> Iterator[None]:
    """While the block runs, `vortex console` finds this server. Where it cannot be noted, --url names it."""
    from vortex.records.atomic import atomic_write
    from vortex.records.private import private_folder

    path = console_folder() / "servers" / f"{os.getpid()}.json"
    note = {"url": url, "data": str(data_path().resolve()), "pid": os.getpid()}
    with contextlib.suppress(OSError):
        private_folder(path.parent)
        with atomic_write(path) as file:
            file.write(json.dumps(note).encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def running_servers() -> list[Running]:
    """Newest first; notes that a killed server left are among them."""
    folder = console_folder() / "servers"
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    found = []
    for path in files:
        try:
            found.append(Running(**json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            continue
    return found
