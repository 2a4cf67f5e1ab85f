"""Templates to answers: escaping always on, the reader's language and look, the headers that every answer carries."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from vortex.console.guard import HEADERS
from vortex.console.show.diff import read_diff
from vortex.console.show.foreign import foreign, visible
from vortex.console.words.choosing import Look, say

FOLDER = Path(__file__).parent
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every page shows around its own part. token: of its forms; empty where nobody is inside."""

    look: Look
    token: str = ""
    place: str = ""
    path: str = "/console"
    waiting: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


def page(template: str, frame: Frame, status: int = 200, **values: Any) -> Response:
    """An answer made of `templates/<template>.html`."""
    html = (
        _environment()
        .get_template(f"{template}.html")
        .render(frame=frame, t=frame.look.translate, lang=frame.look.language, **values)
    )
    return HTMLResponse(html, status, dict(HEADERS))


@cache
def static_files() -> Mapping[str, tuple[bytes, str]]:
    """The files of `static/` by name: content and media type. Read once; no other name is served."""
    return {
        path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in sorted((FOLDER / "static").iterdir())
        if path.suffix in MEDIA_TYPES
    }


@cache
def static_version(name: str) -> str:
    """Changes with the file, so that a browser keeps it for ever and never keeps an old one."""
    return hashlib.sha256(static_files()[name][0]).hexdigest()[:12]


@cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"foreign": foreign, "moment": moment, "ago": ago, "diff": read_diff, "short_hash": short_hash}
    found.globals |= {"static": lambda name: f"/console/static/{name}?v={static_version(name)}"}
    return found


def _finalized(value: Any) -> Any:
    """Whatever a template writes that no filter has made fit already: also an attribute reorders nothing."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def short_hash(value: object) -> str:
    """The beginning of a hash, to be recognised by eye."""
    return str(value).removeprefix("sha256:")[:12]


def moment(value: object) -> Markup:
    """A time of this machine's clock, from Unix seconds or ISO 8601; what is neither stands as it is."""
    found = _time_of(value)
    if found is None:
        return Markup("<span>{}</span>").format(str(value))
    local = found.astimezone()
    return Markup('<time datetime="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), f"{local:%Y-%m-%d %H:%M}"
    )


def ago(value: object, look: Look) -> str:
    """How long ago, roughly."""
    found = _time_of(value)
    if found is None:
        return str(value)
    seconds = max(0.0, time.time() - found.timestamp())
    for name, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return say(look.language, f"ago_{name}", {"n": int(seconds // length)})
    return say(look.language, "ago_now", {})


def _time_of(value: object) -> datetime | None:
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(str(value))
        found.astimezone()  # a year that this machine's clock cannot have is none
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
