"""Clients that other people wrote, unchanged. Each needs its own environment, named by a variable:

VORTEX_LANGCHAIN_PYTHON   an interpreter with langchain-openai
VORTEX_AI_SDK_FOLDER      a folder in which `npm install ai @ai-sdk/openai-compatible zod` was run
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx
import pytest

CLIENTS = Path(__file__).parent / "clients"


def environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: the test was asked for, see the top of this file")
    return value


@pytest.mark.peer
def test_langchain(plain: httpx.Client) -> None:
    python = environment("VORTEX_LANGCHAIN_PYTHON")
    address = str(plain.base_url).rstrip("/")
    subprocess.run([python, CLIENTS / "langchain_walk.py", address], check=True, timeout=120)


@pytest.mark.peer
def test_ai_sdk(plain: httpx.Client) -> None:
    folder = environment("VORTEX_AI_SDK_FOLDER")
    command = ["node", "--input-type=module", "-", str(plain.base_url).rstrip("/")]
    script = (CLIENTS / "ai_sdk_walk.mjs").read_bytes()
    subprocess.run(command, input=script, check=True, timeout=120, cwd=folder)
