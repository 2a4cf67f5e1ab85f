"""The server's pages hold: every example runs, and every field a body knows is in the table."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vortex.backends.fake import FakeBackend
from vortex.server.bodies.chat import ChatBody
from vortex.server.bodies.completion import CompletionBody
from vortex.server.bodies.reading import Body
from vortex.server.bodies.responses import ResponsesBody
from vortex.server.options import ServerOptions
from vortex.server.serving import Checkups

DOCS = Path(__file__).parent.parent.parent / "docs"
ADDRESS = "http://localhost:8000"
EXAMPLES = [
    pytest.param(language, text, id=f"{page.stem}-{number}-{language}")
    for page in sorted((DOCS / "server").glob("*.md"))
    for number, (language, text) in enumerate(re.findall(r"```(bash|python)\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.fixture(scope="module")
def address(running_server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ServerOptions(episodes_dir=tmp_path_factory.mktemp("episodes"))
    with running_server(FakeBackend(name="smollm2-135m"), options, Checkups(quick=lambda: {"ok": True})) as address:
        yield address


@pytest.mark.parametrize(("language", "text"), EXAMPLES)
def test_an_example_runs(address: str, language: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = text.replace(ADDRESS, address)
    assert address in text, "an example without the server's address shows nothing"
    if language == "bash":
        subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, timeout=30)
    else:
        exec(compile(text, "example", "exec"), {"__name__": "example"})
    assert capfd.readouterr().out.strip(), "an example shows something"


@pytest.mark.parametrize("body", [ChatBody, CompletionBody, ResponsesBody])
def test_every_field_is_in_the_table(body: type[Body]) -> None:
    page = (DOCS / "server.md").read_text()
    assert [name for name in (*body.model_fields, *body.refused) if f"`{name}`" not in page] == []
