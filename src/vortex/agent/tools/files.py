"""Tools on files of the working folder: list, read, search, edit by lines, edit by text, write whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.agent.tools.tool import Effect, Tool, ToolResult, Trust, number, schema, text
from vortex.agent.tools.workspace import Workspace

MAX_ENTRIES = 300
MAX_LINES = 400
MAX_HITS = 100
PATH = text("Path from the working folder.")


def file_tools(workspace: Workspace) -> list[Tool]:
    return [*reading_tools(workspace), *writing_tools(workspace)]


def reading_tools(workspace: Workspace) -> list[Tool]:
    return [
        Tool(
            "list_files",
            "List files and folders.",
            schema(
                path=text("Folder, from the working folder; empty: all of it."), depth=number("Levels, 3 by default.")
            ),
            Effect.READ,
            lambda arguments: list_files(workspace, arguments),
        ),
        Tool(
            "read_file",
            "Read a file with its line numbers.",
            schema(("path",), path=PATH, start=number("First line."), end=number("Last line, included.")),
            Effect.READ,
            lambda arguments: read_file(workspace, arguments),
        ),
        Tool(
            "search_files",
            "Find lines in files.",
            schema(
                ("pattern",),
                pattern=text("What to find."),
                path=text("Folder or file; empty: everywhere."),
                regex={"type": "boolean", "description": "The pattern is a regular expression."},
            ),
            Effect.READ,
            lambda arguments: search_files(workspace, arguments),
        ),
    ]


def writing_tools(workspace: Workspace) -> list[Tool]:
    return [
        Tool(
            "edit_lines",
            "Replace lines of a file by their numbers. An end before the start inserts; an empty text removes.",
            schema(
                ("path", "start", "end", "text"),
                path=PATH,
                start=number("First line to replace."),
                end=number("Last line to replace, included.", minimum=0),
                text=text("The new lines."),
            ),
            Effect.WRITE,
            lambda arguments: edited(workspace, "edit_lines", arguments),
        ),
        Tool(
            "replace_text",
            "Replace a piece of text in a file. The old text must be there exactly once.",
            schema(
                ("path", "old", "new"),
                path=PATH,
                old=text("Text as it stands, spaces included."),
                new=text("Text to put there."),
                all={"type": "boolean", "description": "Replace every occurrence."},
            ),
            Effect.WRITE,
            lambda arguments: edited(workspace, "replace_text", {"all": False, **arguments}),
        ),
        Tool(
            "write_file",
            "Write a whole file, new or small.",
            schema(("path", "text"), path=PATH, text=text("All of its content.")),
            Effect.WRITE,
            lambda arguments: edited(workspace, "write", arguments),
        ),
    ]


def list_files(workspace: Workspace, arguments: Mapping[str, Any]) -> ToolResult:
    path = arguments.get("path", "")
    answer = workspace.operate("list", path=path, depth=arguments.get("depth", 3), limit=MAX_ENTRIES)
    return _lines(answer, path or ".", "nothing is here")


def read_file(workspace: Workspace, arguments: Mapping[str, Any]) -> ToolResult:
    path = arguments["path"]
    request = {"path": path, "start": arguments.get("start", 1), "end": arguments.get("end", 0)}
    answer = workspace.operate("read", **request, limit=MAX_LINES)
    source = f"{path}, lines {answer['start']} to {answer['end']} of {answer['total']}"
    notes = () if answer["end"] == answer["total"] else (f"{answer['total'] - answer['end']} more lines follow",)
    return ToolResult("\n".join(answer["lines"]) or "the file is empty", Trust.WORKSPACE, source, notes=notes)


def search_files(workspace: Workspace, arguments: Mapping[str, Any]) -> ToolResult:
    request = {
        "pattern": arguments["pattern"],
        "path": arguments.get("path", ""),
        "regex": arguments.get("regex", False),
    }
    answer = workspace.operate("search", **request, limit=MAX_HITS)
    return _lines(answer, f"lines with {arguments['pattern']!r}", "no line has it")


def edited(workspace: Workspace, operation: str, arguments: Mapping[str, Any]) -> ToolResult:
    answer = workspace.operate(operation, **arguments)
    notes = (str(answer["problem"]),) if answer.get("problem") else ()
    shown = "\n".join(answer["lines"])
    return ToolResult(
        shown or f"written, {answer['total']} lines", Trust.WORKSPACE, f"{arguments['path']} now", notes=notes
    )


def _lines(answer: Mapping[str, Any], source: str, otherwise: str) -> ToolResult:
    left = int(answer["left_out"])
    notes = (f"{left} more were left out; ask for less",) if left else ()
    return ToolResult("\n".join(answer["lines"]) or otherwise, Trust.WORKSPACE, source, notes=notes)
