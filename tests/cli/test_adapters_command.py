"""`vortex adapters` on a small model's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.random_adapters import write_random
from tests.models.tiny_models import write_safetensors
from vortex.cli.adapter_shelf import shelf_for
from vortex.cli.app import main
from vortex.cli.composition import settings_for
from vortex.errors import AdapterError
from vortex.models.decoder.adapter_parts import adapter_targets
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.models.opening import open_hash

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vortex(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vortex", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        streams = capfd.readouterr()
        return int(ended.value.code or 0), streams.out, streams.err

    return run


def test_from_adding_to_removing(vortex: Run, tmp_path: Path) -> None:
    model = write_safetensors(tmp_path / "tiny", "qwen2")
    targets = adapter_targets(SafetensorsCheckpoint(model).config)
    lora = write_random(tmp_path / "lora", targets, base="maker/model")
    assert "No adapters are here yet" in vortex("adapters", "list")[1]
    code, out, err = vortex("adapters", "add", lora, "--name", "tone", "--model", model)
    assert code == 0, err
    assert "vortex chat --adapter tone" in out
    assert "for maker/model" in err
    (record,) = json.loads(vortex("adapters", "list", "--json")[1])["adapters"]
    assert (record["name"], record["model"], record["ranks"]) == ("tone", "tiny", [4, 4])
    assert "tone" in vortex("adapters", "list")[1]
    facts = json.loads(vortex("adapters", "inspect", "tone", "--json")[1])
    assert (facts["hash"], facts["layers"], facts["type"]) == (record["hash"], len(targets), ["float32"])
    assert json.loads(vortex("adapters", "inspect", lora, "--json")[1])["hash"] == record["hash"]
    assert "maker/model" in vortex("adapters", "inspect", lora)[1]
    code, _, err = vortex("adapters", "add", lora, "--name", "tone", "--model", model)
    assert (code, err.count("\n")) == (4, 1)
    assert json.loads(vortex("adapters", "remove", "tone", "--json")[1])["freed_bytes"] == record["num_bytes"]
    code, _, err = vortex("adapters", "remove", "tone")
    assert (code, "vortex adapters list" in err) == (4, True)


@pytest.mark.long
def test_what_does_not_fit_is_one_line(vortex: Run, tmp_path: Path) -> None:
    model = write_safetensors(tmp_path / "tiny", "qwen2")
    lora = write_random(tmp_path / "lora", {"model.layers.0.self_attn.q_proj": (8, 8)})
    for arguments in (
        ("add", lora, "--model", model),
        ("add", tmp_path, "--model", model),
        ("inspect", tmp_path / "x"),
    ):
        code, _, err = vortex("adapters", *arguments)
        assert (code, err.count("\n"), err[:6]) == (4, 1, "error:")
    code, _, err = vortex("adapters", "add", lora, "--model", "vortex-core")
    assert (code, "takes no adapters" in err) == (4, True)


def test_a_model_without_adapters_has_no_shelf() -> None:
    assert shelf_for(open_hash(), settings_for()) is None
    with pytest.raises(AdapterError, match="hash takes no adapters"):
        shelf_for(open_hash(), settings_for(flags={"adapters.name": "tone"}))
