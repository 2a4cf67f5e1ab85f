"""The judge's other program: tests of Node's own runner, run for a JavaScript project inside the sandbox.

The same jobs and lines as judge_process.py, and standard library alone like it. A test file is one run of `node`; its
TAP output says which tests passed. Which lines ran comes from V8's coverage, one run a test. A version is written
into the file and its tests are run anew: some fifty milliseconds each, so fewer versions are reached than in Python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

RESULT = re.compile(r"^(not )?ok \d+ - (.*?)(?: # (SKIP|TODO).*)?$")
MAX_MESSAGE_CHARS = 1500
MAX_TRACED = 40  # tests with a run of their own
TEST_FILES = ("*.test.js", "*.test.mjs", "*.test.cjs", "test/*.js", "test/*.mjs", "tests/*.js", "tests/*.mjs")


def main() -> None:
    job = json.load(sys.stdin)
    files = sorted({name.partition("::")[0] for name in job.get("tests", [])}) or found_files()
    if job["do"] == "judge":
        judge(job)
        return
    for number, traced in enumerate(job["traced"]):
        observe(job, number, files, traced=traced)


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def found_files() -> list[str]:
    found = {path for pattern in TEST_FILES for path in Path.cwd().rglob(pattern)}
    return sorted(str(path.relative_to(Path.cwd())) for path in found if "node_modules" not in path.parts)


def observe(job: dict[str, Any], number: int, files: list[str], *, traced: bool) -> None:
    say(kind="framework", run=number, name="node")
    problem = "" if shutil.which("node") else "node is not installed"
    began = time.monotonic()
    num_traced = 0
    for file in files if not problem else []:
        limit_s = min(job["test_limit_s"] * 4, job["limit_s"] - (time.monotonic() - began))
        if limit_s <= 0:
            break
        results, seconds, hung = run_file(file, limit_s)
        for name, (outcome, message) in results.items():
            lines: dict[str, list[int]] = {}
            if traced and num_traced < MAX_TRACED:
                num_traced += 1
                lines = lines_of(file, name, job["test_limit_s"] * 2)
            say(
                kind="test", run=number, test=f"{file}::{name}", outcome=outcome, message=message, hung=hung,
                seconds=seconds / max(len(results), 1), lines=lines,
            )  # fmt: skip
    say(kind="modules", run=number, names=[])
    say(kind="collected", run=number, problem=problem)


def judge(job: dict[str, Any]) -> None:
    began = time.monotonic()
    wanted: dict[str, list[str]] = {}
    for test in job["tests"]:  # failing ones come first, so their files do too
        file, _, name = test.partition("::")
        wanted.setdefault(file, []).append(name)
    for index, version in enumerate(job["versions"]):
        left_s = job["limit_s"] - (time.monotonic() - began)
        if left_s <= 0:
            return
        path = Path(version["file"])
        old = path.read_bytes()
        try:
            path.write_text(version["text"], encoding="utf-8")
            failed = first_failure(wanted, min(max(job["version_limit_s"], 2.0), left_s))
        finally:
            path.write_bytes(old)
        say(kind="version", index=index, passed=not failed, failed=failed)


def first_failure(wanted: dict[str, list[str]], limit_s: float) -> str:
    for file, names in wanted.items():
        results, _, _ = run_file(file, limit_s)
        for name in names:
            if results.get(name, ("gone", ""))[0] != "passed":
                return f"{file}::{name}"
    return ""


def run_file(file: str, limit_s: float, *options: str, coverage: str = "") -> tuple[dict[str, Any], float, bool]:
    """Outcomes and messages by test, seconds, and whether it had to be ended."""
    command = ["node", "--test-reporter=tap", *options, file]
    environment = {**os.environ, **({"NODE_V8_COVERAGE": coverage} if coverage else {})}
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False, env=environment)
        text, hung = done.stdout + ("" if "\nnot ok" in done.stdout else done.stderr), False
    except subprocess.TimeoutExpired as error:
        text = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        hung = True
    results = dict(read_tap(text))
    if not results:  # it did not come so far as to name its tests
        why = "it did not end in time" if hung else text[-MAX_MESSAGE_CHARS:]
        results = {"(the file)": ("failed", why)}
    return results, time.monotonic() - began, hung


def read_tap(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Top-level tests, with the lines behind each that fails."""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        found = RESULT.match(line)
        if found is None:
            continue
        message = ""
        if found.group(1):
            following = lines[place + 1 : place + 40]
            ends = next((n for n, one in enumerate(following) if one.strip() == "..."), len(following))
            message = "\n".join(following[:ends])[-MAX_MESSAGE_CHARS:]
        outcome = "failed" if found.group(1) else "skipped" if found.group(3) else "passed"
        yield found.group(2), (outcome, message)


def lines_of(file: str, name: str, limit_s: float) -> dict[str, list[int]]:
    """Lines of functions that ran in one test, by file; from the ranges that V8 counted."""
    with tempfile.TemporaryDirectory() as folder:
        run_file(file, limit_s, f"--test-name-pattern=^{re.escape(name)}$", coverage=folder)
        found: dict[str, list[int]] = {}
        for report in Path(folder).glob("*.json"):
            for script in json.loads(report.read_text(encoding="utf-8")).get("result", []):
                place = urlsplit(script["url"])
                path = Path(unquote(place.path))
                if place.scheme != "file" or not path.is_relative_to(Path.cwd()) or not path.is_file():
                    continue
                numbers = ran(path.read_text(encoding="utf-8"), script["functions"])
                if numbers:
                    found[str(path.relative_to(Path.cwd()))] = numbers
        return found


def ran(text: str, functions: list[dict[str, Any]]) -> list[int]:
    counts = [0] * len(text)
    for function in functions:
        for part in function["ranges"]:
            if function["functionName"] == "" and part["startOffset"] == 0:
                continue  # the module itself: it always runs
            for place in range(part["startOffset"], min(part["endOffset"], len(text))):
                counts[place] = part["count"]
    numbers, line = set(), 1
    for place, character in enumerate(text):
        if counts[place] and not character.isspace():
            numbers.add(line)
        line += character == "\n"
    return sorted(numbers)


if __name__ == "__main__":
    main()
