"""`vortex config show`: values and where they come from."""

from __future__ import annotations

import json


def test_each_value_comes_with_its_origin(inside) -> None:
    (inside.folder / "config").mkdir()
    text = "decode:\n  top_k: 40\nserver: {host: 0.0.0.0}\nbad: {adjacency: true}\n"
    (inside.folder / "config" / "settings.yaml").write_text(text)
    result = inside.run("config", "show", "--json", "--set", "decode.min_p=0.1", KLIMEAI_API_TOKEN="hush")
    shown = json.loads(result.stdout)
    settings = shown["settings"]
    assert shown["profile"] == "default"
    assert settings["decode.top_k"] == {"value": 40, "origin": "config/settings.yaml:2"}
    assert settings["decode.min_p"] == {"value": 0.1, "origin": "--set"}
    assert settings["server.host"]["value"] == "127.0.0.1"
    assert settings["server.host"]["origin"] == "built in"
    assert "hush" not in result.stdout
    assert settings["server.api_token"]["origin"] == "KLIMEAI_API_TOKEN"
    assert "'server.host' is not read from the working folder" in result.stderr
    assert "config/settings.yaml:4: 'bad.adjacency' is gone" in result.stderr


def test_people_get_a_table_and_may_ask_for_a_section(inside) -> None:
    result = inside.run("config", "show", "kv", "--profile", "rtx4080_16gb")
    assert "kv.window_size" in result.stdout
    assert "profile rtx4080_16gb:" in result.stdout
    assert "decode.top_k" not in result.stdout


def test_profiles_are_listed(inside) -> None:
    assert {"default", "rtx4080_16gb", "rtx4080_16gb_safe"} <= set(inside.run("config", "profiles").stdout.split())
