"""Roles: declared, owned, required; and what no role may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vortex.agent.authority import Authority
from vortex.agent.evidence import append_decision
from vortex.agent.patch import FileChange, Patch
from vortex.agent.protected import why_protected
from vortex.agent.roles import declared, role_policy
from vortex.errors import AgentStopped, ConfigError

SEED_PROMPT = '"Rol: Gateway Core & Homeostatic Logic"\nTarea: Ajustar el umbral de entropía en el sensor homeostático.'
OWN_POLICY = "roles:\n  - name: Keeper\n    paths: ['**', 'notes/']\nevidence_log: docs/log.md\n"


def patch_to(*paths: str) -> Patch:
    return Patch(goal="g", changes=tuple(FileChange(path, "a\n", "b\n") for path in paths))


def test_a_prompt_declares_its_role_as_the_seed_writes_it() -> None:
    role, task = declared(SEED_PROMPT)
    assert role == "Gateway Core & Homeostatic Logic"
    assert task == "Ajustar el umbral de entropía en el sensor homeostático."
    assert declared("Role: DevOps & Runtime Orchestration\nFix it") == ("DevOps & Runtime Orchestration", "Fix it")
    assert declared("Fix the control: it fails") == (None, "Fix the control: it fails")


@pytest.mark.parametrize(
    ("name", "own", "foreign"),
    [
        ("Architect & Evidence Auditor", "docs/a.md", "src/a.py"),
        ("Gateway Core & Homeostatic Logic", "src/a.py", "docs/a.md"),
        ("DevOps & Runtime Orchestration", "docker-compose.yml", "docker-compose.yml.bak"),
        ("devops &  runtime orchestration", "scripts/start.sh", "scripts_of_others/a.sh"),
    ],
)
def test_a_role_owns_its_paths_and_no_others(tmp_path: Path, name: str, own: str, foreign: str) -> None:
    policy = role_policy(tmp_path)
    authority = Authority(policy=policy, role=policy.role(name), yes=True)
    assert authority.refusal(patch_to(own)) is None
    assert "is not of the role" in (authority.refusal(patch_to(foreign)) or "")
    assert "is not of the role" in (authority.refusal(patch_to(own, foreign)) or "")


def test_an_unknown_role_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no role 'Boss'.*'Architect & Evidence Auditor'"):
        role_policy(tmp_path).role("Boss")


def test_without_yes_or_a_person_nothing_is_changed(tmp_path: Path) -> None:
    policy = role_policy(tmp_path)
    assert "--yes" in (Authority(policy=policy).refusal(patch_to("a.py")) or "")
    assert "--yes" in (Authority(policy=policy, role=policy.roles[1]).refusal(patch_to("src/a.py")) or "")
    assert Authority(policy=policy, yes=True).refusal(patch_to("a.py")) is None
    assert Authority(policy=policy, confirm=lambda _: True).refusal(patch_to("a.py")) is None
    assert Authority(policy=policy, confirm=lambda _: False).refusal(patch_to("a.py")) == "the answer was no"


def test_a_repository_with_its_own_policy_requires_a_role(tmp_path: Path) -> None:
    (tmp_path / "antigravity").mkdir()
    (tmp_path / "antigravity/roles.yaml").write_text(OWN_POLICY)
    policy = role_policy(tmp_path)
    assert "requires a role" in (Authority(policy=policy, yes=True).refusal(patch_to("notes/a.py")) or "")
    keeper = Authority(policy=policy, role=policy.role("keeper"), yes=True)
    assert keeper.refusal(patch_to("notes/a.py")) is None
    assert "is not changed by an agent" in (keeper.refusal(patch_to("antigravity/roles.yaml")) or "")
    assert "is not of the role" in (keeper.refusal(patch_to("src/a.py")) or "")


@pytest.mark.parametrize(
    "text",
    ["", "roles: []", "roles: 3", "- a", "roles:\n  - name: x\n    paths: ['../x']",
     "evidence_log: ../x.md\nroles:\n  - name: a\n    paths: [a]",
     "!!python/object/apply:os.system ['true']"],
)  # fmt: skip
def test_a_policy_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "antigravity").mkdir()
    (tmp_path / "antigravity/roles.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        role_policy(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py", "test_a.py", "a_test.py", "src/tests/helper.py", "conftest.py",
        "src/conftest.py", "pyproject.toml",      "pytest.ini", "setup.cfg", "tox.ini", "noxfile.py",
        ".github/workflows/ci.yml", ".ci/run", ".git/hooks/post-commit",      ".gitattributes",
        ".pre-commit-config.yaml", ".env", ".env.local", "config/.env", "deploy/server.key", "a.pem",
        "../outside.py", "/etc/passwd", "a/../../b.py", "Tests/test_a.py", "TESTS/x.py", "PyProject.toml",
        ".GitHub/x",      "src/pytest.py", "unittest.py", "sitecustomize.py", "x.pth",
        "antigravity/roles.yaml", "data/APPROVE_AUTOPATCH",      "config/settings.yaml", "C:/x", "a\\..\\b",
        "tests./x.py", "ｔests/x.py", "requirements.txt", "AGENTS.md", " a.py", "a\n.py"
    ],
)  # fmt: skip
def test_protected_paths_are_protected_however_they_are_written(path: str) -> None:
    assert why_protected(path)


@pytest.mark.parametrize("path", ["src/a.py", "docs/guide.md", "README.md", "scripts/start.sh", "lib/contest.py"])
def test_sources_and_documents_are_not_protected(path: str) -> None:
    assert why_protected(path) is None


def test_decisions_are_appended_to_the_evidence_log(tmp_path: Path) -> None:
    policy = role_policy(tmp_path)
    (tmp_path / "docs").mkdir()
    log = tmp_path / "docs/evidence_log.md"
    log.write_text("# Log\n")
    for goal in ("one", "two"):
        append_decision(tmp_path, policy, policy.roles[0], goal, replace(patch_to("docs/a.md"), goal=goal))
    text = log.read_text()
    assert text.startswith("# Log\n")
    assert text.count("- role: Architect & Evidence Auditor") == 2
    assert text.index(": one") < text.index(": two")
    log.unlink()
    log.symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(AgentStopped, match="no plain file"):
        append_decision(tmp_path, policy, policy.roles[0], "x", patch_to("docs/a.md"))
