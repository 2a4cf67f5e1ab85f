"""Write config/.env.example from the tables of variables; with --check, only say if it is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from vortex.config.addresses import ADDRESSES
from vortex.config.variables import Variable
from vortex.gateway.settings import VARIABLES

FILE = Path(__file__).parent.parent / "config" / ".env.example"
HEAD = """\
# Settings of the stack: copy to config/.env and change what you need. The environment wins over this file.
# Every line shows the default. `vortex gateway` and `vortex up` check all of it before they start anything.
# Written by scripts/write_env_example.py from the program's own table.
"""


def lines(title: str, variables: Iterable[Variable]) -> Iterator[str]:
    yield f"\n# --- {title} ---\n"
    for variable in variables:
        allowed = "text, kept out of logs" if variable.kind == "secret" else variable.allowed
        yield f"\n# {variable.meaning}{'' if variable.kind == 'text' else f' ({allowed})'}\n"
        yield f"{'' if variable.default else '# '}{variable.name}={variable.default}\n"


def example() -> str:
    return "".join(
        [
            HEAD,
            *lines("engine, gateway, user interface: who listens where", ADDRESSES),
            *lines("the gateway", VARIABLES),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        FILE.write_text(example(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != example():
        sys.exit("config/.env.example is behind the program: python scripts/write_env_example.py")


if __name__ == "__main__":
    main()
