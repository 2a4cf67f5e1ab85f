"""`vortex doctor`: what it sees, what it says is missing, and that --deep really computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vortex.cli.composition import missing_gpu
from vortex.cli.doctor.checkup import Status, profile
from vortex.config.loading import SettingsSources, load_settings

DRIVER = "#!/bin/sh\necho '{card}'\n"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A driver's tool that reports the given cards."""

    def install(card: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(DRIVER.format(card=card))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


def test_a_gpu_profile_falls_back_and_says_why(driver) -> None:
    loaded = load_settings(SettingsSources(profile="rtx4080_16gb", environment={}))
    driver("")
    assert "this machine has none" in (missing_gpu(loaded) or "")
    assert next(finding.status for finding in profile(loaded)) is Status.NOTE
    driver("NVIDIA GeForce RTX 4060, 8188")
    assert "RTX 4060 has 9 GB" in (missing_gpu(loaded) or "")
    driver("NVIDIA GeForce RTX 4080, 16376")
    assert missing_gpu(loaded) is None


def test_a_model_the_user_named_is_never_replaced(driver) -> None:
    driver("")
    loaded = load_settings(SettingsSources(profile="rtx4080_16gb", environment={}, flags={"model.name": "x.gguf"}))
    assert missing_gpu(loaded) is None


def test_a_missing_model_offline_is_missing_with_a_fix(inside, tmp_path: Path) -> None:
    result = inside.run("doctor", "--json", "--profile", "rtx4080_16gb_safe", VORTEX_HOME=str(tmp_path / "empty"))
    report = json.loads(result.stdout)
    assert result.returncode == 6
    assert report["ok"] is False
    assert report["findings"][-1]["fix"] == "vortex pull smollm2-135m"


def test_deep_and_mock_run_the_whole_engine_without_a_model(inside, tmp_path: Path) -> None:
    result = inside.run("doctor", "--deep", "--mock", VORTEX_HOME=str(tmp_path / "empty"))
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("program", "processor", "memory", "disk", "arithmetic", "speed", "answer", "disk speed", "can run"):
        assert f" {name} " in result.stdout
    assert "the engine answered" in result.stdout


@pytest.mark.long
def test_deep_checks_the_default_model_against_its_stored_reference(vortex) -> None:
    result = vortex.run("doctor", "--deep", "--json")
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert result.returncode == 0
    assert findings["arithmetic"]["status"] == "ok"
    assert "nats from the fp32 reference" in findings["arithmetic"]["detail"]
    assert "Paris" in findings["answer"]["detail"]
