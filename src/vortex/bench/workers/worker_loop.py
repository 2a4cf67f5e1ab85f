"""`python worker_loop.py NAME`: answers requests with the `Worker` of NAME.py beside it, until its standard input ends.

One JSON object a line each way: {"operation": …, arguments} in, the method's answer or {"error": …} out. It runs in the
interpreter where a peer is installed, so it imports nothing of this package. Its folder holds workers alone: a script's
folder is where Python looks for modules first, and names like `kernels` are others' packages.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not meet the answers
    worker = importlib.import_module(sys.argv[1]).Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("operation"))(**request)
        except Exception as error:  # every failure goes back to who asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
