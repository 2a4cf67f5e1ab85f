"""Compares versions of a function with the right one, inside the sandbox: standard library alone, handed over as text.

Reads {files, right, versions, function, calls, limit_s} from standard input; prints a list of true and false. A
version is right where it answers every call as the right one does, errors included as errors; calls that the right
version cannot answer in time are left out.
"""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any


class OutOfTime(BaseException):
    """A call took too long."""


def over(_signal: int, _frame: object) -> None:
    raise OutOfTime


def answer(function: Callable[..., Any], arguments: Sequence[Any], limit_s: float) -> tuple[str, Any]:
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)  # of the processor: a busy machine decides nothing
    try:
        value = function(*copy.deepcopy(arguments))
        if isinstance(value, types.GeneratorType | map | filter | zip | range):
            value = [one for one, _ in zip(value, range(10_000), strict=False)]
        return "value", value
    except OutOfTime:
        return "time", None
    except Exception:
        return "error", None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def same(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    if one[0] != other[0]:
        return False
    return equal(one[1], other[1])


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)


def loaded(text: str, name: str) -> Callable[..., Any]:
    space: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, "program", "exec"), space)  # noqa: S102  # inside the sandbox
    function: Callable[..., Any] = space[name]
    return function


def in_child(work: Callable[[], Any]) -> Any:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    data = b""
    while block := os.read(reader, 65536):
        data += block
    os.close(reader)
    os.waitpid(child, 0)
    return json.loads(data) if data else None


def main() -> None:
    job = json.load(sys.stdin)
    sys.path.insert(0, str(Path.cwd()))
    signal.signal(signal.SIGVTALRM, over)
    calls = [eval(call, {}) for call in job["calls"]]  # noqa: S307  # literals of ours, inside the sandbox
    right = loaded(job["right"], job["function"])
    limit_s = job["limit_s"]
    known = in_child(lambda: [answer(right, call, limit_s)[0] for call in calls]) or []
    calls = [call for call, kind in zip(calls, known, strict=False) if kind == "value"]
    expected = [answer(right, call, limit_s) for call in calls]

    def judge(text: str) -> bool:
        function = loaded(text, job["function"])
        slow_s = max(10 * limit_s, 0.5)
        return all(same(answer(function, call, slow_s), want) for call, want in zip(calls, expected, strict=True))

    verdicts = [bool(in_child(partial(judge, text))) for text in job["versions"]]
    print(json.dumps({"calls": len(calls), "right": verdicts}))


main()
