"""How the agent's progress is shown: a line a step for people, or one JSON event a line for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vortex.cli.terminal import notice, print_json, write_answer

if TYPE_CHECKING:
    from vortex.agent.patch import Patch


class Teller:
    """People read progress on stderr and the patch on stdout; programs read everything on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def tell(self, step: str, text: str) -> None:
        if self.as_json:
            print_json({"event": step, "text": text})
        else:
            notice(f"{step:<14} {text}")

    def patch(self, patch: Patch) -> None:
        """Verdict, diff, and the runners-up below it."""
        from vortex.agent.patch import summary_of

        if self.as_json:
            print_json({"event": "patch", **patch.as_json()})
            return
        for line in summary_of(patch):
            notice(line)
        write_answer(patch.diff)
        for number, other in enumerate(patch.runners_up, 1):
            notice(f"runner-up {number}: {other.id}, by {other.evidence.found_by}")
            for line in other.diff.splitlines():
                if line.startswith(("+", "-")) and not line.startswith(("+++", "---")):
                    notice(f"  {line}")

    def end(self, result: Mapping[str, Any]) -> None:
        if self.as_json:
            print_json({"event": "end", **result})
        else:
            passed = result.get("passed")
            seconds = result.get("seconds")
            notice(f"{'done' if passed else 'not done'}{'' if seconds is None else f' in {seconds} s'}")
