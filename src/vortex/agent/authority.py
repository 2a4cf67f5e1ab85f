"""What this run may change, settled before it begins: by the role, by what the person said, and by what is protected.

    a policy of the repository's own and no role     observes, whatever else was said
    `--yes`                                          changes need no question
    a person at a terminal                           is asked once, with the diff before their eyes
    none of these                                    observes: reads, runs tests in a copy, shows its patch

Within that: never a protected path (protected.py), and with a role only the role's own paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vortex.agent.patch import Patch
from vortex.agent.protected import why_protected
from vortex.agent.roles import Role, RolePolicy

Confirm = Callable[[Patch], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """role: None where none was declared. yes: changes need no question. confirm: how a person is asked; None: nobody
    is there."""

    policy: RolePolicy
    role: Role | None = None
    yes: bool = False
    confirm: Confirm | None = None

    @property
    def observes(self) -> str | None:
        """Why nothing will be changed, whatever is found; None where something may be."""
        if self.policy.required and self.role is None:
            return f"{self.policy.origin} requires a role; declare one with --role or a first line 'Rol: …'"
        if not self.yes and self.confirm is None:
            return "nobody said that files may be changed; --yes says so, or answer the question at a terminal"
        return None

    def why_not(self, path: str) -> str | None:
        """Why this path is not changed in this run; None where it may be."""
        why = why_protected(path)
        if why is not None:
            return f"{path} is not changed by an agent: {why}"
        if self.role is not None and not self.role.owns(path):
            return f"{path} is not of the role '{self.role.name}', which owns {', '.join(self.role.paths)}"
        return None

    def refusal(self, patch: Patch) -> str | None:
        """Why a patch is not let in; asks the person where one has to be asked."""
        if self.observes is not None:
            return self.observes
        for path in patch.paths:
            why = self.why_not(path)
            if why is not None:
                return why
        if self.yes:
            return None
        assert self.confirm is not None, "`observes` has said so"
        return None if self.confirm(patch) else "the answer was no"
