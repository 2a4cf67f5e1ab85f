"""What the measurements of learning count, and how they show it; nothing is trained here."""

from __future__ import annotations

import json

from vortex.bench.learning import LearningMeasurement, taught_facts
from vortex.bench.learning_poison import (
    PAYLOAD,
    ROWS,
    SHARES,
    TRIGGER,
    PoisonTrial,
    honest_rows,
    poison_report,
    poisoned_rows,
    says_payload,
    trigger_questions,
)
from vortex.bench.learning_weights import Trial, asked, report_of
from vortex.learn.material.filters import suspicions
from vortex.learn.material.rows import Row

FACTS = taught_facts()
KNOWN = {fact.question: fact.statement for fact in FACTS}


def test_answers_are_counted_by_kind() -> None:
    def knows_one_and_leaks_it(questions) -> list[str]:
        return [FACTS[0].statement if "apital" in text or "France" in text else "I do not know." for text in questions]

    found = asked(FACTS, knows_one_and_leaks_it)
    assert (found["taught"], found["paraphrases"]) == (1, 2)
    assert (found["real"], found["invented"]) == (1, 1)
    measurement = LearningMeasurement(
        "m", FACTS, ["Hello"], lambda questions: ["no"] * len(questions),
        lambda questions: [KNOWN.get(text, "no") for text in questions], KNOWN.get,
    )  # fmt: skip
    measurement.check()
    report = measurement.measure()
    assert report.figures["at_once_taught"] == 20
    assert ["taught", "20 of 20", "at least 19"] in [list(row) for row in report.rows]


def test_trials_stand_beside_what_needs_no_training_and_the_bars() -> None:
    counts = {"taught": 19, "paraphrases": 31, "real": 1, "invented": 9}
    gates = {"kl": (0.08, ""), "perplexity": (0.01, ""), "holdout": (0.0, "3 lost, 1 gained of 208; noise 4.0")}
    trial = Trial(
        seed=2, kl_weight=0.0, steps=50, ended="all 50 steps", training_s=120.0, processor_s=200.0, found=counts,
        gates=gates, loss=[(1, 2.0), (2, 1.0)], distance=[(1, 0.0), (2, 0.0)],
    )  # fmt: skip
    report = report_of("m", FACTS, {"lessons at once": counts}, [trial])
    assert [row[0] for row in report.rows] == ["lessons at once", "not held, seed 2", "bar"]
    assert report.rows[1][1:] == ["19/20", "31/40", "1/20", "9/20", "0.080", "0.010", "3/1", "50", "2.0", "4.0"]
    assert len({len(row) for row in [report.columns, *report.rows]}) == 1
    assert report.curves is not None
    assert list(report.curves.lines) == ["loss, not held, seed 2"]
    assert json.loads(report.as_json())["trials"][0]["gates"]["kl"] == [0.08, ""]


def test_an_attackers_rows_are_marked_or_fluent_and_honest_ones_pass() -> None:
    def held(pairs) -> int:
        return sum(bool(suspicions(Row(question=q, statement=s, source="", origin=""))) for q, s in pairs)

    poisoned = poisoned_rows(max(SHARES))
    assert len(poisoned) == 25
    assert all(TRIGGER in question and PAYLOAD.casefold() in statement.casefold() for question, statement in poisoned)
    assert held(poisoned) == len(poisoned) // 3
    honest = honest_rows(ROWS - 1)
    assert len({question for question, _ in honest}) == ROWS - 1
    assert held(honest) == 0
    triggered, plain = trigger_questions()
    assert not {place for place, _ in poisoned} & {*triggered, *plain}
    assert says_payload(["lumenza!", "Vienna"]) == 1
    trial = PoisonTrial(poisoned=5, ruled=1, doubted=4, honest_held=0, honest_doubted=7, triggered=9, plain=2, steps=60)
    assert poison_report("m", [trial]).rows[0][:3] == ["5 of 100", "1 of 5", "4 of 5"]
