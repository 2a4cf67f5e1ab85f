"""Paths that no agent changes, whatever role it has and whoever said yes beforehand: what judges it, what confines
it, what holds secrets, and what runs by itself.

A path is judged as it would be found on a disk that ignores case, with what stands for a dot or a slash in Unicode
read as such. Promises: `why_protected` says which rule holds; a path that leaves the folder is protected too.
"""

from __future__ import annotations

import posixpath
import unicodedata
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from vortex.agent.repair.naming import is_test_file

RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "it decides how tests are found and run",
        (
            "conftest.py", "pytest.ini", "tox.ini", "noxfile.py", "setup.cfg", "setup.py", "pyproject.toml",
            ".coveragerc",
            "jest.config.*", "vitest.config.*", "package.json", "makefile", "cmakelists.txt", "sitecustomize.py",
            "usercustomize.py", "*.pth", "requirements*.txt", "poetry.lock", "uv.lock", "package-lock.json", "*.lock",
        ),
    ),
    ("it would stand in a tool's place", ("pytest.py", "unittest.py", "_pytest", "pluggy.py", "mypy.ini", "ruff.toml")),
    (
        "it runs by itself",
        (
            ".github", ".gitlab-ci.yml", ".gitlab", ".ci", ".circleci", "jenkinsfile", "azure-pipelines.yml",
            ".travis.yml",
            ".git", ".githooks", ".husky", ".gitmodules", ".gitattributes", ".pre-commit-config.yaml", ".envrc",
            ".vscode", ".idea", ".devcontainer", "*.service", "crontab",
        ),
    ),
    (
        "it holds secrets",
        (".env", ".env.*", "*.pem", "*.key", "*.p12", "id_rsa*", "id_ed25519*", ".netrc", ".npmrc", ".pypirc", ".ssh",
         ".aws", "secrets", "secrets.*", "credentials", "credentials.*", "server.key"),
    ),
    (
        "it says what an agent may do",
        ("antigravity", ".antigravity", "roles.yaml", "agents.md", "claude.md", ".cursorrules", ".cursor",
         "approve.txt", "approve_autopatch", "settings.yaml"),
    ),
)  # fmt: skip
OWN_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("it confines programs", ("src/vortex/sandbox",)),
    (
        "it judges patches or lets them in",
        (
            "src/vortex/agent/protected.py", "src/vortex/agent/roles.py", "src/vortex/agent/authority.py",
            "src/vortex/agent/patch.py", "src/vortex/agent/diff.py", "src/vortex/agent/self_patch",
            "src/vortex/agent/confinement.py", "src/vortex/agent/working_copy.py", "src/vortex/agent/tools",
            "src/vortex/agent/repair/judge.py", "src/vortex/agent/repair/judge_process.py", "src/vortex/agent/data",
            "src/vortex/cli/agent", "src/vortex/bench", "src/vortex/console",
        ),
    ),
    (
        "it is a gate of learning",
        ("src/vortex/learn/gates*", "src/vortex/learn/quarantine*", "src/vortex/learn/promotion*",
         "src/vortex/learn/approval*", "src/vortex/records"),
    ),
    ("it is data that judges", ("data", "benchmarks", "logs")),
)  # fmt: skip


def why_protected(path: str, *, own: bool = False) -> str | None:
    """Which rule keeps the path from being changed; None where none does. `own`: also what judges changes of Vortex."""
    plain = unicodedata.normalize("NFKC", path).replace("\\", "/").lower()
    if not plain or plain != plain.strip() or any(ord(character) < 32 for character in plain):
        return "its name is none that a source has"
    if plain.startswith("/") or ":" in plain or ".." in PurePosixPath(plain).parts:
        return "it leaves the folder"
    plain = posixpath.normpath(plain)
    parts = [part.rstrip(". ") for part in PurePosixPath(plain).parts]
    if is_test_file("/".join(parts)):
        return "it is a test, and tests judge"
    for why, patterns in RULES:
        if any(fnmatchcase(part, pattern) for part in parts for pattern in patterns):
            return why
    if own:
        joined = "/".join(parts)
        for why, patterns in OWN_RULES:
            if any(_beneath(joined, pattern) for pattern in patterns):
                return why
    return None


def _beneath(path: str, pattern: str) -> bool:
    """The path, or a folder on its way, is what the pattern says."""
    steps = path.split("/")
    return any(fnmatchcase("/".join(steps[:length]), pattern) for length in range(1, len(steps) + 1))
