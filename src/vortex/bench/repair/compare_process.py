"""Compares versions of a function with the right one, inside the sandbox: standard library alone, handed over as text.

Reads {files, right, versions, function, calls, limit_s} from standard input; prints a list of true and false. A
version is right where it answers every call as the right one does, errors included as errors; calls that the right
version cannot answer in time are left out.
"""

import copy
import json
import math
import os
import signal
import sys
import types


class OutOfTime(BaseException):
    pass


def over(*_):
    raise OutOfTime


def answer(function, arguments, limit_s):
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


def same(one, other):
    if one[0] != other[0]:
        return False
    return equal(one[1], other[1])


def equal(one, other):
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


def loaded(text, name):
    space = {"__name__": "program"}
    exec(compile(text, "program", "exec"), space)
    return space[name]


def in_child(work):
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


def main():
    job = json.load(sys.stdin)
    sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGVTALRM, over)
    calls = [eval(call, {}) for call in job["calls"]]
    right = loaded(job["right"], job["function"])
    limit_s = job["limit_s"]
    known = in_child(lambda: [answer(right, call, limit_s)[0] for call in calls]) or []
    calls = [call for call, kind in zip(calls, known, strict=False) if kind == "value"]
    expected = [answer(right, call, limit_s) for call in calls]

    def judge(text):
        function = loaded(text, job["function"])
        slow_s = max(10 * limit_s, 0.5)
        return all(same(answer(function, call, slow_s), want) for call, want in zip(calls, expected, strict=True))

    verdicts = [bool(in_child(lambda text=text: judge(text))) for text in job["versions"]]
    print(json.dumps({"calls": len(calls), "right": verdicts}))


main()
