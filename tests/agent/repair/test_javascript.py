"""JavaScript as the second language: Node's own tests behind walls, changes by tree-sitter."""

from __future__ import annotations

import shutil

import pytest

from tests.agent.conftest import MakeRepository
from vortex.agent.led import LedOptions, repair_folder
from vortex.agent.repair.judge import JudgeOptions
from vortex.agent.repair.node_judge_process import ran, read_tap
from vortex.agent.repair.pipeline import Models

MODULE = """export function largest(values) {
  let best = values[0];
  for (const value of values) {
    if (value < best) { best = value; }
  }
  return best;
}

export function twice(number) {
  return number * 2;
}
"""
TESTS = """import test from 'node:test';
import assert from 'node:assert';
import { largest, twice } from '../numbers.mjs';
test('the largest of three', () => { assert.strictEqual(largest([1, 5, 3]), 5); });
test('twice', () => { assert.strictEqual(twice(4), 8); });
"""
TAP = """TAP version 13
# Subtest: good
ok 1 - good
  ---
  duration_ms: 0.5
  ...
# Subtest: bad
not ok 2 - bad
  ---
  error: 'Expected 1'
  ...
ok 3 - left out # SKIP
1..3
"""


def test_results_are_read_from_tap() -> None:
    assert dict(read_tap(TAP)) == {
        "good": ("passed", ""),
        "bad": ("failed", "  ---\n  error: 'Expected 1'"),
        "left out": ("skipped", ""),
    }


def test_lines_that_ran_are_those_of_counted_ranges() -> None:
    text = "a();\nfunction f() {\n  b();\n}\nfunction g() {\n  c();\n}\n"
    functions = [
        {"functionName": "", "ranges": [{"startOffset": 0, "endOffset": len(text), "count": 1}]},
        {"functionName": "f", "ranges": [{"startOffset": 5, "endOffset": 28, "count": 2}]},
        {"functionName": "g", "ranges": [{"startOffset": 29, "endOffset": 52, "count": 0}]},
    ]
    assert ran(text, functions) == [2, 3, 4]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
async def test_a_javascript_test_is_repaired(make_repository: MakeRepository) -> None:
    pytest.importorskip("tree_sitter_javascript", reason="extra agent")
    folder = make_repository({"numbers.mjs": MODULE, "test/numbers.test.mjs": TESTS})
    led = LedOptions(judge=JudgeOptions(test_limit_s=2.0))
    report = await repair_folder(folder, "fix", Models(), led, lambda *_: None)
    assert report.failing == ["test/numbers.test.mjs::the largest of three"]
    assert report.suspects == ["numbers.mjs:largest"]
    assert report.patch is not None
    assert report.patch.evidence.kept == 1
    assert report.patch.evidence.plausible
