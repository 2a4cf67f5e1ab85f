"""What adds an extra, for every way this program may have been installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.cli.doctor.checkup import Status, old_name
from vortex.machine import installation
from vortex.machine.installation import add_extra, clone_folder, rename_fix

ROOT = Path(__file__).parent.parent.parent
OURS, FOREIGN = "klimeai = vortex.cli.app:main", "other = vortex.main:run"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An environment in which the named distributions, and no others, are installed, each with its console script."""

    def install(**scripts: str) -> None:
        for name, script in scripts.items():
            folder = tmp_path / f"{name}-0.1.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
            (folder / "entry_points.txt").write_text(f"[console_scripts]\n{script}\n")
        monkeypatch.setattr("sys.path", [str(tmp_path)])

    return install


def test_the_clone_that_runs_these_tests_is_found() -> None:
    assert clone_folder() == ROOT


@pytest.mark.parametrize("folder", [None, Path("/home/me/vortex")])
def test_an_extra_is_added_to_what_is_installed_be_it_a_wheel_or_a_clone(installed, monkeypatch, folder) -> None:
    monkeypatch.setattr(installation, "clone_folder", lambda: folder)
    installed(klimeai=OURS)
    assert add_extra("hf") == "pip install 'klimeai[hf]'"
    assert rename_fix() is None


def test_a_source_tree_that_is_not_installed_names_its_folder(installed, monkeypatch) -> None:
    monkeypatch.setattr(installation, "clone_folder", lambda: Path("/home/me/vortex"))
    installed()
    assert add_extra("hf") == "pip install -e '/home/me/vortex[hf]'"


def test_a_stale_install_of_the_old_name_goes_on_and_one_line_says_what_to_do(installed, monkeypatch) -> None:
    monkeypatch.setattr(installation, "clone_folder", lambda: Path("/home/me/vortex"))
    installed(vortex=OURS)
    assert add_extra("hf") == "pip install -e '/home/me/vortex[hf]'"
    (finding,) = old_name()
    assert finding.status is Status.NOTE
    assert finding.fix == "pip uninstall -y vortex && pip install -e '/home/me/vortex'"


def test_both_names_at_once_are_put_right_by_one_line(installed, monkeypatch) -> None:
    monkeypatch.setattr(installation, "clone_folder", lambda: None)
    installed(vortex=OURS, klimeai=OURS)
    assert rename_fix() == "pip uninstall -y vortex klimeai && pip install klimeai"


def test_the_other_program_of_that_name_is_left_alone(installed) -> None:
    installed(vortex=FOREIGN, klimeai=OURS)
    assert rename_fix() is None
