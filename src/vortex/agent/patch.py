"""A patch: files as they were and as they should be, the diff between them, and what speaks for it.

Both ways of working end here: the repair and the free loop. Promises: the diff is made by this module from the two
texts, so it is exactly what was tested; its id is the hash of the diff, so another diff is another patch.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

ID_CHARS = 16


@dataclass(frozen=True, slots=True)
class FileChange:
    """old: None for a file that is new; new: None for one that goes."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen. plausible: all tests of the task pass. held_out: tests that nobody searched with; None: there were
    none, so nothing is known beyond plausible."""

    repaired: tuple[str, ...] = ()  # tests that failed before and pass now
    kept: int = 0  # tests that passed before and still do
    still_failing: tuple[str, ...] = ()  # other tests, failing before and now
    flaky: tuple[str, ...] = ()  # tests that changed their mind without a change
    plausible: bool = False
    held_out_passed: int | None = None
    held_out_failed: int | None = None
    candidates_tried: int = 0
    plausible_found: int = 0
    found_by: str = ""
    gain_nats: float | None = None
    lead_nats: float | None = None  # ahead of the runner-up

    @property
    def verdict(self) -> str:
        if not self.plausible:
            return "not plausible"
        if self.held_out_failed:
            return "plausible, and wrong: held-out tests fail"
        return (
            "right by its held-out tests"
            if self.held_out_passed
            else "plausible: the tests pass, nothing else is known"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    goal: str
    changes: tuple[FileChange, ...]
    evidence: Evidence = field(default_factory=Evidence)
    runners_up: tuple[Patch, ...] = ()

    @property
    def diff(self) -> str:
        return "".join(diff_of(change) for change in sorted(self.changes, key=lambda change: change.path))

    @property
    def id(self) -> str:
        return patch_id(self.diff)

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(change.path for change in self.changes))

    def as_json(self) -> dict[str, Any]:
        evidence = self.evidence
        return {
            "id": self.id,
            "goal": self.goal,
            "paths": list(self.paths),
            "diff": self.diff,
            "verdict": evidence.verdict,
            "plausible": evidence.plausible,
            "repaired_tests": list(evidence.repaired),
            "kept_tests": evidence.kept,
            "still_failing_tests": list(evidence.still_failing),
            "flaky_tests": list(evidence.flaky),
            "held_out_passed": evidence.held_out_passed,
            "held_out_failed": evidence.held_out_failed,
            "candidates_tried": evidence.candidates_tried,
            "plausible_found": evidence.plausible_found,
            "found_by": evidence.found_by,
            "gain_nats": evidence.gain_nats,
            "lead_nats": evidence.lead_nats,
            "runners_up": [{"id": one.id, "diff": one.diff, "found_by": one.evidence.found_by,
                            "gain_nats": one.evidence.gain_nats} for one in self.runners_up],
        }  # fmt: skip


def patch_id(diff: str) -> str:
    """The beginning of the diff's SHA-256: a changed diff is another patch."""
    return hashlib.sha256(diff.encode()).hexdigest()[:ID_CHARS]


def diff_of(change: FileChange) -> str:
    """A unified diff that `git apply` reads."""
    if change.old == change.new:
        return ""
    old, new = _lines(change.old), _lines(change.new)
    before = f"a/{change.path}" if change.old is not None else "/dev/null"
    after = f"b/{change.path}" if change.new is not None else "/dev/null"
    head = f"diff --git a/{change.path} b/{change.path}\n"
    if change.old is None:
        head += "new file mode 100644\n"
    elif change.new is None:
        head += "deleted file mode 100644\n"
    return head + "".join(_ended(difflib.unified_diff(old, new, before, after)))


def _lines(text: str | None) -> list[str]:
    """Lines with their ends; only a newline ends one, as git sees it."""
    if not text:
        return []
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def summary_of(patch: Patch) -> Sequence[str]:
    """Lines for people, without the diff."""
    evidence = patch.evidence
    lines = [f"patch {patch.id}: {evidence.verdict}"]
    tests = f"{len(evidence.repaired)} failing tests repaired, {evidence.kept} others still pass"
    lines.append(f"{tests}; {evidence.candidates_tried} candidates tried, {evidence.plausible_found} pass the tests")
    if evidence.still_failing:
        lines.append(f"still failing, and not of this task: {', '.join(evidence.still_failing[:5])}")
    if evidence.flaky:
        lines.append(f"set aside because they change their mind by themselves: {', '.join(evidence.flaky[:5])}")
    if patch.runners_up:
        lines.append(f"{len(patch.runners_up)} runners-up are shown below it; read them where the tests are few")
    return lines
