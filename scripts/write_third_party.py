"""Write THIRD_PARTY.md: what is compiled into the wheel, with its terms, and the licence of every dependency.

Licences come from the installed packages' own metadata, so run it where all extras are installed.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nanobind
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FILE = ROOT / "THIRD_PARTY.md"
LONGEST = 60
SPELLED = {  # as metadata says it: as SPDX does
    "apache software license": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache": "Apache-2.0",
    "mit license": "MIT",
    "bsd license": "BSD-3-Clause",
}
HEAD = """\
# Other people's work

Written by `python scripts/write_third_party.py` from the installed packages' metadata.

## In the wheel
The native core is compiled with nanobind, which brings robin-map; both are linked in. Their terms:

### nanobind (BSD-3-Clause)
"""
TABLE = """
## Installed beside it
What `pip install klimeai` brings with it, and what its extras add. Nothing of these is in the wheel. Which versions an
installation has: `python scripts/write_sbom.py`.

| package | licence | comes with |
|---|---|---|
"""
MODELS = """
## Models
No model of others is in the wheel. The default model (SmolLM2-135M-Instruct, Apache-2.0) and the embedder
(all-MiniLM-L6-v2, Apache-2.0) are fetched when they are first asked for. The cores that are shipped were trained here.
"""


def licence_of(name: str) -> str:
    """What the metadata says, in SPDX's words where it can be told."""
    about = importlib.metadata.metadata(name)
    said = about.get("License-Expression") or about.get("License") or ""
    classifiers = about.get_all("Classifier") or []
    classified = [line.rpartition("::")[2].strip() for line in classifiers if "License ::" in line]
    text = (said.splitlines() or classified or ["see the package"])[0]
    text = SPELLED.get(text.lower(), text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} …"


def dependencies() -> Iterator[tuple[str, str]]:
    """Each package once: its name, and the extra that brings it (empty: always)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    seen = set()
    for extra, lines in {"": project["dependencies"], **extras}.items():
        for line in lines:
            name = Requirement(line).name
            if name not in seen:
                seen.add(name)
                yield name, extra


def page() -> str:
    terms = next(file for file in importlib.metadata.files("nanobind") or [] if file.name == "LICENSE")
    header = Path(nanobind.include_dir()).parent / "ext/robin_map/include/tsl/robin_map.h"
    comment = header.read_text().partition("/**")[2].partition("*/")[0]
    robin_map = "\n".join(line.strip().removeprefix("*").strip() for line in comment.splitlines()).strip()
    rows = [f"| {name} | {licence_of(name)} | {extra and f'`klimeai[{extra}]`'} |" for name, extra in dependencies()]
    quoted = [f"```text\n{text.strip()}\n```\n" for text in (terms.read_text(), robin_map)]
    return f"{HEAD}{quoted[0]}\n### robin-map (MIT)\n{quoted[1]}{TABLE}" + "\n".join(rows) + "\n" + MODELS


if __name__ == "__main__":
    FILE.write_text(page())
    print(f"{FILE.name}: written")
