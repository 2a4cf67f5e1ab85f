"""Variables: what is wrong is named with value and range before anything starts; the documents tell the truth."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.gateway.running import both
from vortex.config.addresses import ADDRESSES, environment_and_file
from vortex.config.trust import trust
from vortex.config.variables import read_env_file, write_env_file
from vortex.errors import ConfigError
from vortex.gateway.serve import Redact
from vortex.gateway.settings import PARTS, VARIABLES, read_settings

ROOT = Path(__file__).parent.parent.parent
SEED = {
    "ENGINE_MEM_FRACTION": "0.85", "LKN_ENTROPY_THRESHOLD": "0.6", "LKN_PROBE_TOP_K": "10",
    "LKN_DECISION_STRATEGY": "rules", "LKN_MAX_TOKENS_FLUIDO": "150", "LKN_MODE": "homeostatic",
    "ENGINE_BASE_URL": "http://127.0.0.1:30000", "ENGINE_KIND": "vortex", "LKN_HOST": "127.0.0.1", "LKN_PORT": "8000",
    "LKN_BREAKER_FAILURES": "5", "LKN_BREAKER_RESET_S": "30",
}  # fmt: skip


def test_the_seeds_names_and_defaults() -> None:
    defaults = {variable.name: variable.default for variable in (*ADDRESSES, *VARIABLES)}
    assert {name: defaults[name] for name in SEED} == SEED


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LKN_ENTROPY_THRESHOLD", "1.7", "LKN_ENTROPY_THRESHOLD=1.7 is not allowed: set a number from 0 to 1"),
        ("LKN_ENTROPY_THRESHOLD", "nan", "set a number from 0 to 1"),
        ("LKN_PROBE_TOP_K", "ten", "LKN_PROBE_TOP_K=ten is not allowed: set a whole number from 2 to 20"),
        ("LKN_DECISION_STRATEGY", "magic", "set rules or entropy"),
        ("LKN_LEDGER", "maybe", "set on or off"),
        ("ENGINE_BASE_URL", "127.0.0.1:30000", "set one http:// or https:// address"),
        ("ENGINE_BASE_URL", "http://x:99999", "set one http:// or https:// address"),
        ("LKN_PORT", "70000", "set a whole number from 0 to 65535"),
        ("LKN_TRESHOLD", "1", "LKN_TRESHOLD is not a variable of this program"),
        ("LKN_HOST", "0.0.0.0", "set LKN_API_KEY too"),
    ],
)
def test_a_wrong_value_is_named_with_its_range(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({name: value}, {})
    assert name in str(caught.value)
    assert says in str(caught.value)


def test_everything_wrong_is_told_at_once_and_keys_never() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"LKN_PORT": "x", "LKN_MODE": "y", "LKN_API_KEY": "secret\nsecret"}, {})
    assert "LKN_PORT" in str(caught.value)
    assert "LKN_MODE" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_environment_wins_over_the_file_and_flags_over_both() -> None:
    file = {"LKN_PORT": "1", "LKN_PROBE_TOP_K": "5"}
    assert read_settings({"LKN_PORT": "2"}, file).addresses.port == 2
    assert read_settings({"LKN_PORT": "2"}, file, LKN_PORT=3).addresses.port == 3
    assert read_settings({}, file).decision.probe_top_k == 5


def test_addresses_lose_their_v1() -> None:
    urls = read_settings({"ENGINE_BASE_URL": "http://a:1/v1, https://b/x/"}, {}).addresses.engine_urls
    assert urls == ("http://a:1", "https://b/x")


def test_env_files(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# comment\nexport LKN_PORT=9000\nLKN_INSTRUCTION='a # b'\nLKN_MODE=passthrough # why\n\n")
    assert read_env_file(path) == {"LKN_PORT": "9000", "LKN_INSTRUCTION": "a # b", "LKN_MODE": "passthrough"}
    write_env_file(path, {"LKN_PORT": "1", "LKN_HOLD_TOKENS": "8"})
    assert path.read_text().splitlines()[:2] == ["# comment", "LKN_PORT=1"]
    assert read_env_file(path)["LKN_HOLD_TOKENS"] == "8"
    path.write_text("what is this\n")
    with pytest.raises(ConfigError, match=r"\.env:1: expected NAME=value"):
        read_env_file(path)
    assert read_env_file(tmp_path / "none") == {}


def test_a_file_of_the_working_folder_cannot_open_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("LKN_HOST=0.0.0.0\nLKN_API_KEY=x\n")
    monkeypatch.delenv("LKN_HOST", raising=False)
    with pytest.raises(ConfigError, match="use --host"):
        environment_and_file(env_file=path)


STRANGERS = """\
ENGINE_BASE_URL=http://engine.evil.example:30000
LKN_ALLOWED_ORIGINS=https://evil.example
LKN_LEDGER_PATH=/tmp/elsewhere.jsonl
LKN_LEDGER_TEXT=on
LKN_PORT=8123
"""


def test_a_strangers_file_redirects_nothing_until_the_user_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / ".env"
    path.write_text(STRANGERS)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("LKN_ENV_FILE", raising=False)
    _, file = environment_and_file(VARIABLES, path)
    assert file == {"LKN_PORT": "8123"}
    assert "ENGINE_BASE_URL, LKN_LEDGER_PATH, LKN_LEDGER_TEXT, LKN_ALLOWED_ORIGINS" in caplog.text
    assert "vortex config trust" in caplog.text
    trust(path)
    assert len(environment_and_file(VARIABLES, path)[1]) == 5
    path.write_text(STRANGERS.replace("elsewhere", "another"))
    assert environment_and_file(VARIABLES, path)[1] == {"LKN_PORT": "8123"}, "a changed file is another file"


def test_what_harms_nobody_is_read_from_a_folder(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("ENGINE_BASE_URL=http://127.0.0.1:30001\nLKN_LEDGER_PATH=logs/other.jsonl\nLKN_LEDGER_TEXT=off\n")
    assert len(environment_and_file(VARIABLES, path)[1]) == 3


def test_a_settings_object_made_plainly_has_the_defaults_of_the_variables() -> None:
    read = read_settings({}, {})
    assert [getattr(read, part) for part in PARTS] == [kind() for kind in PARTS.values()]


def test_the_example_file_is_the_table() -> None:
    text = (ROOT / "config" / ".env.example").read_text()
    told = dict(re.findall(r"^#?\s?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    table = {variable.name: variable.default for variable in (*ADDRESSES, *VARIABLES)}
    assert told == table


def test_the_page_names_every_variable() -> None:
    page = (ROOT / "docs" / "gateway-stack.md").read_text()
    assert [variable.name for variable in (*ADDRESSES, *VARIABLES) if f"`{variable.name}`" not in page] == []


def test_it_starts_with_the_engine_down_and_loads_neither_torch_nor_fastapi(tmp_path: Path) -> None:
    heavy = "('torch', 'fastapi', 'numpy', 'pydantic', 'aiohttp')"
    code = f"import sys, vortex.gateway.serve; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
    environment = {**os.environ, "LKN_LEDGER_PATH": str(tmp_path / "l.jsonl"), "ENGINE_BASE_URL": "http://127.0.0.1:9"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vortex.gateway", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    url = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert url, line
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url[0]}/healthz", timeout=5)
    assert caught.value.code == 503
    caught.value.close()
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(10) == 0
    assert time.monotonic() - started < 6
    process.stderr.close()


@pytest.mark.parametrize("variable", ["LKN_ENTROPY_THRESHOLD=7", "LKN_NOPE=1"])
def test_the_program_says_one_line_and_ends_with_2(variable: str, tmp_path: Path) -> None:
    name, _, value = variable.partition("=")
    result = subprocess.run(
        [sys.executable, "-m", "vortex.gateway"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, name: value},
        cwd=tmp_path,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_keys_never_reach_the_log() -> None:
    for said in ("Authorization: Bearer s3cret", "key 'api_key': 's3cret'", "api-key=s3cret and more", "bearer s3cret"):
        record = logging.LogRecord("vortex", logging.INFO, "", 0, "%s", (said,), None)
        assert Redact().filter(record)
        assert "s3cret" not in record.getMessage()
        assert "***" in record.getMessage()


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with both() as (_, running):
        assert (await running.chat()).status == 200
