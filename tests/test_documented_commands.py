"""What a page tells a user to type, this program takes: every command parses, and those for the user's cards run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from tests.documented_commands import CARDS, ROOT, Documented, UsageError, commands_of, parse
from vortex.config.loading import SettingsSources, load_settings

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "es").glob("*.md"))]
EVERY = [one for page in PAGES for one in commands_of(page)]
RUN_HERE = list({one.arguments: one for page in CARDS for one in commands_of(page) if one.runs_here}.values())
SERVERS = {"serve", "gateway"}
LIMIT_S = 300


def test_there_are_commands_to_look_at() -> None:
    assert len(EVERY) > 60
    assert {one.page for one in EVERY} >= set(CARDS)


def test_every_documented_command_parses() -> None:
    wrong = []
    for one in EVERY:
        try:
            parse(one.arguments)
        except UsageError as error:
            wrong.append(f"{one}: {error}")
        except typer.Exit:  # --help, --version
            continue
    assert not wrong


@pytest.mark.parametrize(
    "arguments", [("chatt",), ("chat", "--profle", "x"), ("bench", "--max-neww", "3"), ("c3", "plan")]
)
def test_a_wrong_command_would_be_found(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        parse(arguments)


def test_documented_profiles_and_settings_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for one in EVERY:
        pairs = list(zip(one.arguments, one.arguments[1:], strict=False))
        profiles = [value for flag, value in pairs if flag == "--profile"]
        settings = [value for flag, value in pairs if flag == "--set"]
        for profile in profiles or [None]:
            load_settings(SettingsSources(profile=profile, assignments=settings, flags={}))


@pytest.mark.long
@pytest.mark.parametrize("one", [one for one in RUN_HERE if one.arguments[0] not in SERVERS], ids=str)
def test_a_command_for_the_users_cards_runs(one: Documented, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In one folder, so that what a page makes a later line finds. Without a GPU the profiles say who answers."""
    folder = tmp_path_factory.getbasetemp() / "typed"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "vortex", *one.arguments]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False
    )
    assert result.returncode == 0, result.stderr[-500:]
    assert result.stdout.strip()


@pytest.mark.long
@pytest.mark.parametrize("one", [one for one in RUN_HERE if one.arguments[0] in SERVERS], ids=str)
def test_a_server_for_the_users_cards_starts_and_ends_well(one: Documented, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "vortex", *one.arguments, "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("serving on http://127.0.0.1:")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
