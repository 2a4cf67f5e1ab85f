"""The sets that knowledge is measured on, and answers whose counts are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vortex.bench.knowledge.retrieval import RetrievalMeasurement
from vortex.bench.knowledge.spanish import write_texts
from vortex.bench.measurement import run_measurement
from vortex.knowledge.embedding import HashEmbedder


def test_the_spanish_set_has_a_file_a_text_and_two_questions_each(tmp_path: Path) -> None:
    questions = write_texts(tmp_path)
    files = list(tmp_path.rglob("*.md"))
    assert (len(questions), len(files)) == (80, 40)
    assert {question.file for question in questions} == {str(file) for file in files}
    times = {file: file.stat().st_mtime_ns for file in files}
    assert write_texts(tmp_path) == questions
    assert {file: file.stat().st_mtime_ns for file in files} == times


@pytest.mark.long
def test_the_spanish_set_is_searched_by_words_and_vectors(tmp_path: Path) -> None:
    report = run_measurement(RetrievalMeasurement(tmp_path, HashEmbedder(), spanish=True))
    figures = json.loads(report.as_json())
    assert (figures["language"], figures["questions"], figures["passages"]) == ("es", 80, 40)
    assert [row[0] for row in report.rows] == ["words", "vectors", "fused"]
    assert 0 < figures["words"]["recall_at_1"] <= figures["words"]["recall_at_5"] < 1
