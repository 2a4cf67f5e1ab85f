"""Write the table of settings in docs/configuration.md from the schema; with --check, only say if it is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from vortex.config.schema import Settings, children, loosening_keys

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
MARK = "<!-- the table below is written by scripts/write_settings_table.py -->\n"


def rows(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, inner in children(section).items():
        if inner is not None:
            yield from rows(inner, f"{prefix}{name}.")
            continue
        field = section.model_fields[name]
        kind = str(field.annotation.__name__ if isinstance(field.annotation, type) else field.annotation)
        choices = kind.removeprefix("typing.Literal[").removesuffix("]").replace("'", "").replace(" | ", " or ")
        lock = " 🔒" if f"{prefix}{name}" in loosening_keys() else ""
        default = "" if field.default in (None, "") else f"`{field.default}`"
        yield f"| `{prefix}{name}`{lock} | {choices} | {default} | {field.description} |"


def page() -> str:
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    table = ["| setting | values | default | |", "|---|---|---|---|", *rows(Settings)]
    return head + (mark or MARK) + "\n".join(table) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/configuration.md is behind the schema: python scripts/write_settings_table.py")


if __name__ == "__main__":
    main()
