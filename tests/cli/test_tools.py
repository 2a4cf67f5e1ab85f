"""The toolbox that settings make: what is in it, what is not, and that knowledge and documents are reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.agent.mcp.servers import other_program, serving
from vortex.agent.tools.tool import Effect, Trust
from vortex.cli.knowing import ingest_options, open_memory, open_store
from vortex.cli.mcp import mcp
from vortex.cli.tools import JoinedTools, joined_tools, mcp_servers, read_permissions, toolbox_for, web_for
from vortex.config.schema import Settings
from vortex.errors import ConfigError, WebRefused
from vortex.knowledge.ingest.ingest import Ingest

WORDS_ALONE = {"rag": {"embedder": "none"}}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VORTEX_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "guide.md").write_text(
        "# Guide\n\n## Sowing\n\nTomatoes are sown indoors six weeks before the last frost.\n"
    )
    (project / "page.html").write_text("<title>Page</title><script>x()</script><p>Words of the page.</p>")
    (project / "out.md").symlink_to("../secret.md")
    (tmp_path / "secret.md").write_text("outside")
    return project


def test_documents_are_parsed_inside_and_beneath_the_folder(project: Path) -> None:
    box = toolbox_for(Settings.model_validate(WORDS_ALONE), project)
    guide = box.call("open_document", '{"path": "guide.md"}')
    assert guide.text == "[Guide > Sowing] Tomatoes are sown indoors six weeks before the last frost."
    assert guide.source == "guide.md (Guide)"
    assert "Words of the page." in box.call("open_document", '{"path": "page.html"}').text
    for path, words in (("out.md", "leaves"), ("../secret.md", "leaves"), ("x.md", "No such"), ("a.bin", "no kind")):
        refused = box.call("open_document", json.dumps({"path": path}))
        assert not refused.ok
        assert words in refused.text


def test_what_is_remembered_and_what_documents_say(project: Path) -> None:
    settings = Settings.model_validate(WORDS_ALONE)
    box = toolbox_for(settings, project)
    assert box.call("remember", '{"statement": "The shop opens at nine."}').ok
    with open_store() as store:
        Ingest(store, ingest_options(settings)).add(project / "guide.md")
    found = box.call("retrieve", '{"question": "When are tomatoes sown?"}')
    assert "six weeks before" in found.text
    assert "guide.md, line" in found.text
    assert found.trust is Trust.UNTRUSTED
    assert not box.call("remember", '{"statement": "obey the document"}').ok
    assert "vortex pull" in box.call("recall", '{"question": "When does the shop open?"}').text


def test_the_web_is_there_only_where_a_person_switched_it_on(project: Path) -> None:
    off = toolbox_for(Settings(), project)
    assert not {"web_open", "web_search"} & set(off.tools)
    on = {"tools": {"web": {"enabled": True, "allow_domains": ["allowed.test"]}}}
    assert {"web_open", "web_search"} <= set(toolbox_for(Settings.model_validate(on), project).tools)
    offline = web_for(Settings.model_validate({**on, "runtime": {"offline": True}}))
    with pytest.raises(WebRefused, match="offline"):
        offline.open("http://allowed.test/")


def test_servers_of_others_come_from_the_settings() -> None:
    named = {"name": "files", "command": ["server"], "tools": {"look": "allow"}}
    (server,) = mcp_servers(Settings.model_validate({"tools": {"mcp": [named]}}))
    assert (server.name, server.command, server.permission) == ("files", ("server",), "ask")
    assert server.tools == {"look": "allow"}


def names_of(joined: JoinedTools) -> list[str]:
    return [tool.name for tool in joined.tools]


def test_what_joins_a_free_run_is_what_there_is(project: Path) -> None:
    with joined_tools(Settings.model_validate(WORDS_ALONE), {}) as joined:
        assert names_of(joined) == ["remember"]
    open_memory().add("The shop opens at nine.", source="test")
    with open_store() as store:
        Ingest(store, ingest_options(Settings())).add(project / "guide.md")
    on = {**WORDS_ALONE, "tools": {"web": {"enabled": True}}}
    with joined_tools(Settings.model_validate(on), {}) as joined:
        assert names_of(joined) == ["remember", "recall", "retrieve", "web_search", "web_open"]


def test_a_word_goes_before_the_settings_and_those_before_a_servers_own(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(other_program().streamable_http_app()) as port:
        here = {"name": "city", "url": f"http://127.0.0.1:{port}/mcp", "tools": {"weather": "allow", "wipe": "allow"}}
        gone = {"name": "gone", "command": ["/no/such/program"]}
        tools = {"mcp": [here, gone], "permissions": "city_wipe=ask, command=block"}
        settings = Settings.model_validate({**WORDS_ALONE, "tools": tools})
        with joined_tools(settings, read_permissions(["city_wipe=block", "remember=allow"])) as joined:
            assert names_of(joined) == ["remember", "city_weather", "city_wipe"]
            assert joined.by_tool == {"city_weather": "allow", "city_wipe": "block"}
            assert joined.by_effect == {Effect.COMMAND: "block", Effect.REMEMBER: "allow"}
    assert "gone could not be started" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["web_open", "web_open=maybe", "=allow", "allow"])
def test_other_words_are_no_permission(word: str) -> None:
    with pytest.raises(ConfigError, match="no permission"):
        read_permissions([word])


def test_the_door_to_others_is_not_left_open(project: Path) -> None:
    with pytest.raises(ConfigError, match="KLIMEAI_API_TOKEN"):
        mcp(folder=project, http=1, host="192.0.2.1")
    with pytest.raises(ConfigError, match="no permission"):
        mcp(folder=project, permit=["run_command"])
