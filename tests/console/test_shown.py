"""Strangers' text, Markdown, diffs, gates and curves as a page shows them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.console.show.candidate import candidate_view
from vortex.console.show.curves import HEIGHT, MAX_POINTS, WIDTH, curve
from vortex.console.show.diff import read_diff
from vortex.console.show.figures import Recorder, tiles
from vortex.console.show.foreign import foreign, visible
from vortex.console.show.gates import gate_view
from vortex.console.show.markdown import MAX_CHARS, markdown
from vortex.console.words.choosing import LANGUAGES, look_of, say


@given(st.text(max_size=80))
def test_foreign_text_is_escaped_and_nothing_in_it_is_unseen(text: str) -> None:
    shown = str(foreign(text))
    for char in "\u202e\u2066\u200b\u200e\ufeff\x00\x1b\x7f\u2028":
        assert char not in shown
        assert char not in visible(text)
    tags = shown.replace('<span class="unseen">', "").replace("</span>", "")
    assert "<" not in tags
    assert ">" not in tags
    assert '"' not in tags


def test_letters_of_every_script_stay() -> None:
    for text in ("שלום עולם", "مرحبا", "e\u0301", "👩\u200d🔬", "می\u200cخواهم", "한국어"):
        assert str(foreign(text)) == visible(text) == text


@pytest.mark.parametrize(
    ("text", "absent", "present"),
    [
        ("<script>alert(1)</script>", "<script", "&lt;script"),
        ("<img src=x onerror=alert(1)>", "<img", "&lt;img"),
        ("[x](javascript:alert(1))", "href", "javascript"),
        ("[x](JaVaScRiPt&#58;alert(1))", "href", "x"),
        ("[x](data:text/html;base64,PHN2Zz4=)", "href", "data"),
        ("[x](vbscript:x)", "href", "vbscript"),
        ("[x](//evil.example)", "href", "evil"),
        ("[x](/console/leave)", "href", "leave"),
        ("![a picture](https://evil.example/track.png)", "<img", "a picture"),
        ("<https://a.example/?q=\"onmouseover=x>", "\"onmouseover", "%22onmouseover"),
        ("| a |\n|:-:|\n| b |", "style=", "<table>"),
        ("```\n<b>\n```", "<b>", "&lt;b&gt;"),
        ("[x]: javascript:alert(1)\n\n[x]", "href", "x"),
        ("<svg/onload=alert(1)>", "<svg", "&lt;svg"),
        ("[a](https://a.example \"t\\\" onclick=x\")", "onclick=x\"", 'rel="noopener'),
    ],
)  # fmt: skip
def test_markdown_runs_nothing_and_loads_nothing(text: str, absent: str, present: str) -> None:
    html = str(markdown(text))
    assert absent not in html
    assert present in html


def test_markdown_is_readable() -> None:
    html = str(markdown("# One\n\n*two* `three`\n\n- four\n\n[five](https://a.example)"))
    for part in ("<h1>One</h1>", "<em>two</em>", "<code>three</code>", "<li>four</li>", 'href="https://a.example"'):
        assert part in html
    assert "<h1>" not in str(markdown("# " + "x" * MAX_CHARS))


DIFF = """diff --git a/src/a.py b/src/a.py
--- a/src/a.py
+++ b/src/a.py
@@ -1,3 +1,4 @@ def f():
 same
-    return amount
+    return max(amount, 0)
+new
 last
\\ No newline at end of file
diff --git a/b.md b/b.md
new file mode 100644
--- /dev/null
+++ b/b.md
@@ -0,0 +1 @@
+hello
"""


def test_a_diff_has_files_numbers_and_words_that_differ() -> None:
    first, second = read_diff(DIFF)
    assert (first.path, first.added, first.removed) == ("src/a.py", 2, 1)
    assert (second.path, second.added, second.removed) == ("b.md", 1, 0)
    removed = next(line for line in first.lines if line.kind == "removed")
    added = next(line for line in first.lines if line.kind == "added")
    assert (removed.old, removed.new, added.old, added.new) == (2, None, None, 2)
    assert [piece for piece, changed in added.pieces if changed] == ["max(", ", 0)"]
    assert [piece for piece, changed in removed.pieces if changed] == []
    last = next(line for line in first.lines if line.text == "last")
    assert (last.old, last.new) == (3, 4)


@given(st.text(alphabet="+- @ab\n\\d/", max_size=200))
def test_no_line_of_a_diff_is_lost(text: str) -> None:
    shown = [
        {"added": "+", "removed": "-", "same": " "}.get(line.kind, "") + line.text
        for file in read_diff(text) for line in file.lines
    ]  # fmt: skip
    given_lines = text.removesuffix("\n").split("\n") if text else []
    assert [line.rstrip() for line in shown] == [line.rstrip() for line in given_lines]


def gate(name: str, value: float | None, limit: float, *, at_least: bool) -> dict[str, object]:
    return {"name": name, "value": value, "limit": limit, "at_least": at_least, "passed": False, "note": "n"}


def test_a_gate_lies_on_its_own_scale() -> None:
    share = gate_view(gate("taught", 0.95, 0.9, at_least=True))
    assert (share.value, share.limit, share.value_at, share.limit_at) == ("95.0%", "90.0%", 95.0, 90.0)
    distance = gate_view(gate("kl", 0.05, 0.1, at_least=False))
    assert (distance.value_at, distance.limit_at) == (25.0, 50.0)
    far = gate_view(gate("kl", 3.0, 0.1, at_least=False))
    assert far.limit_at < far.value_at < 100
    assert gate_view(gate("perplexity", 0.0088, 0.02, at_least=False)).value == "+0.9%"
    for value in (None, math.nan, math.inf):
        missing = gate_view(gate("kl", value, 0.1, at_least=False))
        assert (missing.value, missing.value_at) == ("", None)
    assert gate_view(gate("holdout", 0.0, 0.0, at_least=False)).limit_at == 0.0


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=300))
def test_a_curve_stays_in_its_box(values: list[float]) -> None:
    drawn = curve([(float(at), value) for at, value in enumerate(values)])
    finite = [value for value in values if math.isfinite(value)]
    assert (drawn is None) == (len(finite) < 2)
    if drawn is not None:
        points = [tuple(map(float, point.split())) for point in drawn.line[1:].split("L")]
        assert len(points) <= MAX_POINTS + 1
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_totals_become_rates_and_a_new_start_no_negative_one() -> None:
    moment = [0.0]
    recorder = Recorder(lambda: moment[0])
    for at, tokens in ((0.0, 0.0), (10.0, 500.0), (20.0, 20.0), (30.0, 40.0)):
        moment[0] = at
        assert recorder.wants_one()
        recorder.add(
            {"vortex_tokens_total{kind=completion}": tokens, "vortex_prefetch_hits": 3, "vortex_page_faults": 1}
        )
        assert not recorder.wants_one()
    curves = dict(recorder.curves())
    assert curves["tokens_s"] is not None
    assert (curves["tokens_s"].most, curves["tokens_s"].least, curves["tokens_s"].last) == ("50", "0", "2")
    assert curves["hit_share"].last == "0.75"
    assert curves["answers"] is None


def test_tiles_name_what_is_counted() -> None:
    metrics = {
        "vortex_requests_total": 3.0,
        "vortex_requests_total{status=500}": 1.0,
        "vortex_requests_total{status=200}": 2.0,
    }
    found = dict(tiles(metrics, {"free": 2e9, "memory": 0.0}))
    assert (found["requests"], found["failed"], found["free"]) == ("3", "1", "2,000 MB")
    assert "memory" not in found
    assert "page_faults" not in found


def test_a_report_of_an_older_program_is_shown_too() -> None:
    view = candidate_view(
        {"gates": [], "answers": [{"kind": "taught", "question": "q", "answer": "a"}], "rows": [], "recipe": {}}
    )
    assert (view.loss, view.answers[0].right, view.lessons) == (None, 0, [])


def test_both_languages_say_everything_with_the_same_places() -> None:
    english, spanish = LANGUAGES["en"], LANGUAGES["es"]
    assert english.keys() == spanish.keys()
    for key, text in english.items():
        places = {part.partition("}")[0] for part in text.split("{")[1:]}
        assert places == {part.partition("}")[0] for part in spanish[key].split("{")[1:]}, key
    assert say("es", "waits_many", {"n": 3}).startswith("3 cosas")


@pytest.mark.parametrize(
    ("cookie", "accepted", "expected"),
    [
        (None, None, ("en", "auto")),
        (None, "es-ES,en;q=0.8", ("es", "auto")),
        (None, "fr, es;q=0.5", ("es", "auto")),
        ("en.dark", "es", ("en", "dark")),
        ("xx.neon", "es", ("es", "auto")),
        ("../../x", "", ("en", "auto")),
    ],
)
def test_the_look_is_what_was_chosen_else_what_is_asked_for(
    cookie: str, accepted: str, expected: tuple[str, str]
) -> None:
    look = look_of(cookie, accepted)
    assert (look.language, look.theme) == expected
