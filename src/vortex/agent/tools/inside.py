"""File operations, as the program that runs inside the sandbox: one request on standard input, one answer out.

Promises: every path is resolved beneath the root, component by component, by descriptors (as `openat2` with
RESOLVE_BENEATH does): `..` and links may move about inside and never leave, whatever changes meanwhile. A file is
replaced whole, so a hard link to a place outside is never written through. Standard library alone; knows no sandbox.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from typing import Any

MAX_LINKS = 40
MAX_FILE_BYTES = 4 << 20
MAX_SEARCH_FILE_BYTES = 1 << 20
SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".mypy_cache", ".tox"})
MAX_LINE_CHARS = 500
CONTEXT_LINES = 3


class Refused(Exception):
    """One line for whoever asked."""


def open_beneath(root: int, path: str, *, parent: bool = False, read: bool = False) -> tuple[int, str]:
    """A path descriptor of `path`; with `read` one to read from; with `parent` that of its folder, and the last name.

    The caller closes the descriptor.
    """
    waiting = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/"):
        raise Refused(f"{path!r} is absolute; name it from the working folder")
    stack = [os.dup(root)]
    links = 0
    try:
        while waiting:
            name = waiting.pop(0)
            if name == "..":
                if len(stack) == 1:
                    raise Refused(f"{path!r} leaves the working folder")
                os.close(stack.pop())
                continue
            if parent and not waiting:
                return os.dup(stack[-1]), name
            handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            if stat.S_ISLNK(os.fstat(handle).st_mode):
                target = os.readlink("", dir_fd=handle)
                os.close(handle)
                links += 1
                if links > MAX_LINKS or target.startswith("/"):
                    raise Refused(f"{path!r} is a link that leaves the working folder or never ends")
                waiting = [part for part in target.split("/") if part not in {"", "."}] + waiting
            elif read and not waiting:
                os.close(handle)  # if it becomes a link just now, the next line refuses it
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                stack.append(os.open(name, flags, dir_fd=stack[-1]))
            else:
                stack.append(handle)
        if parent:
            raise Refused(f"{path!r} is a folder; name a file")
        return os.dup(stack[-1]), ""
    except OSError as error:
        raise Refused(f"{path!r}: {error.strerror}") from error
    finally:
        for handle in stack:
            os.close(handle)


def read_bytes(root: int, path: str, limit: int = MAX_FILE_BYTES) -> bytes:
    handle, _ = open_beneath(root, path, read=True)
    try:
        state = os.fstat(handle)
        if stat.S_ISDIR(state.st_mode):
            raise Refused(f"{path!r} is a folder; list it instead")
        if not stat.S_ISREG(state.st_mode):
            raise Refused(f"{path!r} is no ordinary file")
        if state.st_size > limit:
            raise Refused(f"{path!r} has {state.st_size} bytes; at most {limit} are read")
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise Refused(f"{path!r}: {error.strerror}") from error
    finally:
        os.close(handle)


def read_text(root: int, path: str) -> str:
    data = read_bytes(root, path)
    if b"\0" in data[:8192]:
        raise Refused(f"{path!r} is not text")
    return data.decode("utf-8", errors="surrogateescape")


def write_whole(root: int, path: str, content: str, *, make_folders: bool) -> None:
    """Replace a file, or make it, with its folders where `make_folders`; the old stays until the new is whole."""
    if make_folders:
        _make_folders(root, path)
    folder, name = open_beneath(root, path, parent=True)
    temporary = f".{name[:80]}.{secrets.token_hex(6)}.tmp"
    try:
        mode = 0o644
        try:
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(state.st_mode):
                raise Refused(f"{path!r} is no ordinary file; name the file itself")
            mode = state.st_mode & 0o777
        except FileNotFoundError:
            pass
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8", errors="surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise Refused(f"{path!r}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # it took its name, or was never made
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)


def _make_folders(root: int, path: str) -> None:
    parts = [part for part in path.split("/")[:-1] if part not in {"", "."}]
    for depth in range(1, len(parts) + 1):
        folder, name = (
            open_beneath(root, "/".join(parts[:depth]), parent=True) if parts[depth - 1] != ".." else (-1, "")
        )
        if folder >= 0:
            try:
                os.mkdir(name, 0o755, dir_fd=folder)
            except FileExistsError:
                pass  # a folder, or the next step says what is wrong
            except OSError as error:
                raise Refused(f"{path!r}: {error.strerror}") from error
            finally:
                os.close(folder)


def walk(root: int, path: str, max_depth: int) -> Iterator[tuple[str, os.stat_result]]:
    """Everything beneath, folders before what is in them, by descriptors; links are named and not followed."""
    handle, _ = open_beneath(root, path or ".")
    if not stat.S_ISDIR(os.fstat(handle).st_mode):
        yield path, os.fstat(handle)
        os.close(handle)
        return
    waiting = [(path.strip("/") if path not in {"", "."} else "", handle, 1)]
    try:
        while waiting:
            folder, descriptor, depth = waiting.pop()
            try:
                readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
            except OSError as error:
                raise Refused(f"{folder or '.'!r}: {error.strerror}") from error
            finally:
                os.close(descriptor)
            below = []
            try:
                for name in sorted(os.listdir(readable)):
                    state = os.stat(name, dir_fd=readable, follow_symlinks=False)
                    full = f"{folder}/{name}" if folder else name
                    yield full, state
                    if stat.S_ISDIR(state.st_mode) and name not in SKIPPED and depth < max_depth:
                        flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
                        below.append((full, os.open(name, flags, dir_fd=readable), depth + 1))
            finally:
                os.close(readable)
                waiting += reversed(below)
    finally:
        for _, descriptor, _ in waiting:
            os.close(descriptor)


def operation_list(root: int, request: dict[str, Any]) -> dict[str, Any]:
    lines: list[str] = []
    left = 0
    for path, state in walk(root, str(request["path"]), int(request["depth"])):
        if len(lines) >= int(request["limit"]):
            left += 1
            continue
        kind = (
            "/" if stat.S_ISDIR(state.st_mode) else " (link)" if stat.S_ISLNK(state.st_mode) else f"  {state.st_size}"
        )
        lines.append(path + kind)
    return {"lines": lines, "left_out": left}


def operation_read(root: int, request: dict[str, Any]) -> dict[str, Any]:
    lines = read_text(root, str(request["path"])).splitlines()
    start, end = int(request["start"]), min(int(request["end"]) or len(lines), len(lines))
    if start > len(lines) > 0:
        raise Refused(f"{request['path']!r} has {len(lines)} lines; there is no line {start}")
    end = min(end, start + int(request["limit"]) - 1)
    return {"lines": numbered(lines, start, end), "start": start, "end": end, "total": len(lines)}


def operation_search(root: int, request: dict[str, Any]) -> dict[str, Any]:
    try:
        pattern = re.compile(request["pattern"] if request["regex"] else re.escape(request["pattern"]))
    except re.error as error:
        raise Refused(f"not a regular expression: {error}") from error
    lines: list[str] = []
    left = files = 0
    for path, state in walk(root, str(request["path"]), 64):
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_SEARCH_FILE_BYTES or ".git" in path.split("/"):
            continue
        try:
            content = read_text(root, path)
        except Refused:
            continue  # no text, or gone meanwhile
        hits = [
            f"{path}:{number}: {line.strip()[:MAX_LINE_CHARS]}"
            for number, line in enumerate(content.splitlines(), 1)
            if pattern.search(line)
        ]
        files += bool(hits)
        room = int(request["limit"]) - len(lines)
        lines += hits[:room]
        left += max(0, len(hits) - room)
    return {"lines": lines, "left_out": left, "files": files}


def operation_edit_lines(root: int, request: dict[str, Any]) -> dict[str, Any]:
    path = str(request["path"])
    lines = read_text(root, path).splitlines(keepends=True)
    start, end = int(request["start"]), int(request["end"])
    if not 1 <= start <= len(lines) + 1 or end < start - 1 or end > len(lines):
        raise Refused(f"{path!r} has {len(lines)} lines; lines {start} to {end} cannot be replaced")
    new = str(request["text"])
    if new and not new.endswith("\n") and (end < len(lines) or not lines or lines[-1].endswith("\n")):
        new += "\n"
    if start == len(lines) + 1 and lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return _edited(root, path, lines[: start - 1] + new.splitlines(keepends=True) + lines[end:], start, new)


def operation_replace_text(root: int, request: dict[str, Any]) -> dict[str, Any]:
    path, old, new = str(request["path"]), str(request["old"]), str(request["new"])
    content = read_text(root, path)
    if not old:
        raise Refused("the old text is empty; give the text that is to be replaced")
    count = content.count(old)
    if count == 0:
        raise Refused(f"the old text is not in {path!r}.{_nearest(content, old)}")
    if count > 1 and not request["all"]:
        raise Refused(f"the old text is in {path!r} {count} times; give more of its surroundings")
    if old == new:
        raise Refused("old and new text are the same; nothing would change")
    start = content[: content.index(old)].count("\n") + 1
    return _edited(root, path, content.replace(old, new).splitlines(keepends=True), start, new)


def operation_write(root: int, request: dict[str, Any]) -> dict[str, Any]:
    path, content = str(request["path"]), str(request["text"])
    write_whole(root, path, content, make_folders=True)
    return {"lines": [], "total": len(content.splitlines()), "problem": _syntax_problem(path, content)}


def _edited(root: int, path: str, lines: list[str], start: int, new: str) -> dict[str, Any]:
    content = "".join(lines)
    write_whole(root, path, content, make_folders=False)
    plain = content.splitlines()
    first = max(1, start - CONTEXT_LINES)
    last = min(len(plain), start + max(1, len(new.splitlines())) - 1 + CONTEXT_LINES)
    return {"lines": numbered(plain, first, last), "total": len(plain), "problem": _syntax_problem(path, content)}


def _nearest(content: str, old: str) -> str:
    """The lines that look most like what was meant: a wrong space is the commonest mistake."""
    wanted = old.strip("\n").splitlines()
    lines = content.splitlines()
    if not wanted or not lines or len(lines) > 5000:
        return ""
    close = difflib.get_close_matches(wanted[0], lines, n=1, cutoff=0.6)
    return f" Nearest to its first line, line {lines.index(close[0]) + 1}: {close[0]!r}" if close else ""


def _syntax_problem(path: str, content: str) -> str:
    if not path.endswith(".py"):
        return ""
    try:
        compile(content, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"the file is no longer valid Python: {error}"
    return ""


def numbered(lines: list[str], start: int, end: int) -> list[str]:
    return [f"{number}\t{lines[number - 1][: MAX_LINE_CHARS * 4]}" for number in range(start, end + 1)]


OPERATIONS = {
    "list": operation_list,
    "read": operation_read,
    "search": operation_search,
    "edit_lines": operation_edit_lines,
    "replace_text": operation_replace_text,
    "write": operation_write,
}


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    os.umask(0o022)  # the mode of a file is given when it is made: changing it later is not always possible here
    root = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        answer: dict[str, Any] = OPERATIONS[request["operation"]](root, request)
    except Refused as error:
        answer = {"refused": str(error)}
    sys.stdout.write(json.dumps(answer, ensure_ascii=True))


if __name__ == "__main__":
    main()
