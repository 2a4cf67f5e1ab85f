"""Prints one hash over the answers of a running server: the proof that a change of the house changed no answer.

    vortex serve --port 8123 &
    python scripts/answer_hash.py http://127.0.0.1:8123 tests/data/prompts.txt --answers 200

Every prompt is asked greedily and with a seed, one after the other, for `--max-tokens` tokens. Only the standard
library and the OpenAI wire are used, so that the same script asks an older version of the program.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import urllib.request
from pathlib import Path


def ask(base_url: str, prompt: str, settings: dict[str, float | int]) -> str:
    """The text of one answer of the server's only model."""
    if not base_url.startswith("http://"):
        raise SystemExit(f"{base_url} does not begin with http://")
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": prompt}]
    with urllib.request.urlopen(f"{base_url}/v1/models", timeout=60) as reply:
        model = json.load(reply)["data"][0]["id"]
    body = {"model": model, "messages": messages, "repetition_penalty": 1.0, **settings}
    request = urllib.request.Request(
        f"{base_url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as reply:
        choice = json.load(reply)["choices"][0]
    return f"{choice['finish_reason']}\n{choice['message']['content']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("prompts", type=Path, help="one prompt a line; repeated with a number in front when too few")
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=48)
    options = parser.parse_args()
    lines = [line for line in options.prompts.read_text().splitlines() if line.strip()]
    digest = hashlib.sha256()
    for index in range(options.answers):
        prompt = lines[(index // 2) % len(lines)]
        if index // 2 >= len(lines):
            prompt = f"{index // 2}. {prompt}"
        settings: dict[str, float | int] = {"max_tokens": options.max_tokens, "temperature": 0}
        if index % 2:
            settings |= {"temperature": 0.8, "top_p": 0.95, "seed": index}
        digest.update(ask(options.base_url, prompt, settings).encode() + b"\0")
    print(f"{options.answers} answers of up to {options.max_tokens} tokens: sha256 {digest.hexdigest()}")


if __name__ == "__main__":
    main()
