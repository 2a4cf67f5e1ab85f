"""`/` and `/docs`: two pages for a browser, whole in themselves, so that they read the same without a network.

Made once from the app's own OpenAPI document. Nothing of them is loaded from elsewhere, and no script runs: the policy
sent along allows neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid #8886; border-radius: .4rem; }
h2 { margin-top: 2.2rem; border-top: 1px solid #8886; padding-top: .8rem; font-size: 1.1rem; }
table { border-collapse: collapse; width: 100%; } td { vertical-align: top; padding: .15rem .8rem .15rem 0; }
"""
HERE = "(here)/"  # the address that the browser asked
PLACES = (
    ("/docs", "every endpoint, with its fields"),
    ("/v1/models", "the models that are served"),
    ("/readyz", "whether requests are taken"),
    ("/doctor", "what this machine can run"),
    ("/metrics", "counters, for Prometheus"),
    ("/openapi.json", "the endpoints as an OpenAPI document"),
)


def pages_router(described: Mapping[str, Any], *, has_console: bool = False) -> APIRouter:
    """`described`: the app's OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    pages = {"/": _welcome(described, has_console=has_console), "/docs": _reference(described)}
    for path, page in pages.items():
        router.add_api_route(path, _serving(page), methods=["GET"], response_model=None)
    return router


def _serving(page: str) -> Any:
    async def serve(request: Request) -> Response:
        return HTMLResponse(page.replace(HERE, escape(str(request.base_url))), headers=HEADERS)

    return serve


def _page(title: str, parts: Iterator[str]) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n'


def _welcome(described: Mapping[str, Any], *, has_console: bool) -> str:
    def parts() -> Iterator[str]:
        info = described["info"]
        yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        yield "<p>Point any OpenAI client at this address followed by <code>/v1</code>, or ask from a terminal:</p>"
        question = '{"messages": [{"role": "user", "content": "What is the capital of France?"}]}'
        yield f"<pre>curl {HERE}v1/chat/completions -H 'Content-Type: application/json' \\\n  -d '{question}'</pre>"
        if has_console:
            yield "<p>To decide what it learns: <code>vortex console</code> in a terminal opens the page.</p>"
        yield "<table>"
        for path, what in PLACES:
            if path in described["paths"] or path in {"/docs", "/openapi.json"}:
                yield f'<tr><td><a href="{path}"><code>{path}</code></a></td><td>{what}</td></tr>'
        yield "</table>"

    return _page("Vortex", parts())


def _reference(described: Mapping[str, Any]) -> str:
    def parts() -> Iterator[str]:
        yield f"<h1>{escape(described['info']['title'])}: endpoints</h1>"
        yield '<p>As a document for programs: <a href="/openapi.json"><code>/openapi.json</code></a>.</p>'
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
                yield f"<p>{escape(operation.get('description', ''))}</p>"
                yield from _fields(described, operation)

    return _page("Vortex: endpoints", parts())


def _fields(described: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    """The fields of the body, required ones first."""
    body = operation.get("requestBody")
    if body is None:
        return
    schema = _resolved(described, body["content"]["application/json"]["schema"])
    required = set(schema.get("required", ()))
    yield "<table>"
    for name, field in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required):
        told = "required" if name in required else _default(field)
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(field))}</td><td>{escape(told)}</td></tr>"
    yield "</table>"


def _resolved(described: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: Mapping[str, Any] = described["components"]["schemas"][name] if name else schema
    return resolved


def _default(field: Mapping[str, Any]) -> str:
    return f"default {field['default']}" if field.get("default") not in (None, [], {}) else ""


def _kind(field: Mapping[str, Any]) -> str:
    """`array of string or null`, as the schema says it."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if members := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(member) for member in members))
    if "enum" in field or "const" in field:
        return " or ".join(str(value) for value in field.get("enum", [field.get("const")]))
    kind = str(field.get("type", "any value"))
    items = field.get("items")
    return f"list of {_kind(items)}" if kind == "array" and items else kind
