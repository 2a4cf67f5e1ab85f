"""Which files are tests, by their names."""

from __future__ import annotations

from pathlib import PurePosixPath


def is_test_file(path: str) -> bool:
    """By its name or a folder on its way. Such a file judges, so no repair changes it."""
    pure = PurePosixPath(path)
    name = pure.name.lower()
    in_tests = any(part.lower() in {"tests", "test", "testing", "__tests__", "spec"} for part in pure.parts[:-1])
    return (
        in_tests
        or name.startswith("test_")
        or pure.stem.lower().endswith(("_test", ".test", ".spec"))
        or name in {"conftest.py", "tests.py", "test.py"}
    )
