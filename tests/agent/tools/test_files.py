"""File tools: what they show and change, and that no path, link or race leads out of the working folder."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from vortex.agent.tools import inside
from vortex.agent.tools.files import file_tools
from vortex.agent.tools.tool import ToolResult
from vortex.agent.tools.toolbox import Permission, Toolbox
from vortex.agent.tools.workspace import Workspace


def call(workspace: Workspace, name: str, **arguments: object) -> ToolResult:
    box = Toolbox.of(file_tools(workspace))
    box.by_tool = dict.fromkeys(box.tools, Permission.ALLOW)
    return box.call(name, json.dumps(arguments))


def test_list_read_and_search(workspace: Workspace) -> None:
    listed = call(workspace, "list_files", depth=2).text.splitlines()
    assert {"README.md  22", "tests/", "deep/er/"} <= set(listed)
    assert "deep/er/still/" not in listed
    shown = call(workspace, "read_file", path="sums.py", start=2, end=2)
    assert shown.text == "2\t    return first - second"
    assert shown.source == "sums.py, lines 2 to 2 of 6"
    found = call(workspace, "search_files", pattern=r"add\(\w+, ", path="sums.py", regex=True)
    assert found.text.splitlines() == [
        "sums.py:1: def add(first, second):",
        "sums.py:6: return add(number, number)",
    ]
    assert call(workspace, "search_files", pattern="[core]").text == "no line has it"


def test_edits_by_lines_by_text_and_whole(workspace: Workspace, project: Path) -> None:
    (project / "sums.py").chmod(0o755)
    edited = call(workspace, "edit_lines", path="sums.py", start=2, end=2, text="    return first + second")
    assert "2\t    return first + second" in edited.text
    assert call(workspace, "replace_text", path="sums.py", old="add(number, number)", new="2 * number").ok
    assert (project / "sums.py").read_text().endswith("def twice(number):\n    return 2 * number\n")
    assert (project / "sums.py").stat().st_mode & 0o777 == 0o755
    assert (
        call(workspace, "write_file", path="new/folder/file.py", text="x = (\n")
        .notes[0]
        .startswith("the file is no longer")
    )
    assert (project / "new/folder/file.py").read_text() == "x = (\n"
    assert call(workspace, "edit_lines", path="README.md", start=4, end=3, text="More.").ok
    assert (project / "README.md").read_text() == "# Sums\n\nAdds numbers.\nMore.\n"
    assert call(workspace, "edit_lines", path="README.md", start=2, end=2, text="").ok
    assert (project / "README.md").read_text() == "# Sums\nAdds numbers.\nMore.\n"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("read_file", {"path": "/etc/passwd"}, "absolute"),
        ("read_file", {"path": "../secret.txt"}, "leaves"),
        ("read_file", {"path": "deep/../../secret.txt"}, "leaves"),
        ("read_file", {"path": "out"}, "leaves"),
        ("read_file", {"path": "climb/secret.txt"}, "leaves"),
        ("read_file", {"path": "loop"}, "never ends"),
        ("read_file", {"path": "pipe"}, "no ordinary file"),
        ("read_file", {"path": "deep"}, "is a folder"),
        ("read_file", {"path": "no"}, "No such file"),
        ("read_file", {"path": "bytes"}, "not text"),
        ("read_file", {"path": "sums.py", "start": 99}, "has 6 lines"),
        ("list_files", {"path": "climb"}, "leaves"),
        ("write_file", {"path": "../new", "text": "x"}, "leaves"),
        ("write_file", {"path": "climb/new", "text": "x"}, "leaves"),
        ("write_file", {"path": "out", "text": "x"}, "no ordinary file"),
        ("write_file", {"path": "deep", "text": "x"}, "no ordinary file"),
        ("edit_lines", {"path": "out", "start": 1, "end": 1, "text": "x"}, "leaves"),
        ("edit_lines", {"path": "sums.py", "start": 5, "end": 99, "text": "x"}, "cannot be replaced"),
        ("replace_text", {"path": "sums.py", "old": "return  first", "new": "x"}, "line 2"),
        ("replace_text", {"path": "sums.py", "old": "number", "new": "x"}, "times"),
        ("search_files", {"pattern": "(", "regex": True}, "not a regular expression"),
    ],
)
def test_what_cannot_be_served_says_why(
    workspace: Workspace, project: Path, name: str, arguments: dict[str, object], words: str
) -> None:
    (project / "out").symlink_to("../secret.txt")
    (project / "climb").symlink_to("..")
    (project / "loop").symlink_to("loop")
    os.mkfifo(project / "pipe")
    (project / "bytes").write_bytes(b"\0\1")
    result = call(workspace, name, **arguments)
    assert not result.ok
    assert words in result.text
    assert (project.parent / "secret.txt").read_text() == "outside"
    assert sorted(path.name for path in project.parent.iterdir()) == ["project", "runs.jsonl", "secret.txt"]


def test_links_that_stay_inside_are_followed(workspace: Workspace, project: Path) -> None:
    (project / "near").symlink_to("deep/../deep/er/still")
    assert call(workspace, "read_file", path="near/file.txt").text == "1\tfar away"


def test_a_hard_link_to_the_outside_is_never_written_through(workspace: Workspace, project: Path) -> None:
    (project / "hard").hardlink_to(project.parent / "secret.txt")
    assert call(workspace, "write_file", path="hard", text="mine").ok
    assert (project.parent / "secret.txt").read_text() == "outside"
    assert (project / "hard").read_text() == "mine"


def test_resolution_holds_by_itself_against_a_race(project: Path) -> None:
    """Without any walls around it: a folder that becomes a link and back never leads out."""
    (project / "swap").mkdir()
    (project / "swap/secret.txt").write_text("inside")
    (project / "other").symlink_to("..")
    root = os.open(project, os.O_PATH | os.O_DIRECTORY)
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            for source, target in (("swap", "kept"), ("other", "swap"), ("swap", "other"), ("kept", "swap")):
                os.rename(source, target, src_dir_fd=root, dst_dir_fd=root)

    thread = threading.Thread(target=exchange)
    thread.start()
    seen = set()
    end = time.monotonic() + 0.5
    try:
        while time.monotonic() < end:
            try:
                seen.add(inside.read_text(root, "swap/secret.txt"))
            except inside.Refused:
                continue
    finally:
        done.set()
        thread.join()
        os.close(root)
    assert seen <= {"inside"}


def test_protected_files_stay_and_hidden_ones_are_empty(project: Path) -> None:
    guarded = Workspace(project, protect=(project / "tests",), hide=(project / "README.md",))
    assert "Read-only" in call(guarded, "write_file", path="tests/test_sums.py", text="pass").text
    assert "Read-only" in call(guarded, "write_file", path="tests/new.py", text="pass").text
    assert call(guarded, "read_file", path="README.md").text in {"the file is empty", "'README.md' is no ordinary file"}
    assert call(guarded, "read_file", path="tests/test_sums.py").text.startswith("1\tfrom sums")
