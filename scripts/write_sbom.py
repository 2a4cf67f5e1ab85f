"""Write a bill of materials (CycloneDX 1.6, JSON) of what an installation of this program consists of.

    python scripts/write_sbom.py --out dist/klimeai.cdx.json            of this environment
    OTHER_PYTHON scripts/write_sbom.py --extra train                    of another one, an extra included

Walks the installed packages' own metadata from `klimeai` on, so the versions are those that run, and adds what is
compiled into the wheel. The same installation gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import uuid
from pathlib import Path
from typing import Any

try:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
except ImportError:  # a bare environment: pip has a copy
    from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]
    from pip._vendor.packaging.utils import canonicalize_name  # type: ignore[assignment]

DISTRIBUTION = "klimeai"
COMPILED_IN = {"nanobind": "BSD-3-Clause", "robin-map": "MIT"}  # robin-map as nanobind brings it
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's, for addresses


def reachable(root: str, extras: set[str]) -> dict[str, list[str]]:
    """Each installed package from `root` on, and the packages it asks for. Names are canonical."""
    found: dict[str, list[str]] = {}
    waiting = [(canonicalize_name(root), extras)]
    while waiting:
        name, wanted = waiting.pop()
        asked = found.setdefault(name, [])
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if not any(_applies(requirement, extra) for extra in ("", *wanted)):
                continue
            other = canonicalize_name(requirement.name)
            if not _installed(other):
                continue
            if other not in asked:
                asked.append(other)
            if other not in found or requirement.extras:
                waiting.append((other, set(requirement.extras)))
    return {name: sorted(asked) for name, asked in sorted(found.items())}


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def component(name: str) -> dict[str, Any]:
    about = importlib.metadata.metadata(name)
    expression = about.get("License-Expression")
    said = (about.get("License") or "").splitlines()
    licences: list[dict[str, Any]] = []
    if expression:
        licences = [{"expression": expression}]
    elif said:
        licences = [{"license": {"name": said[0]}}]
    else:
        classified = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
        licences = [{"license": {"name": line.rpartition("::")[2].strip()}} for line in classified]
    return _component("library", name, about["Version"], licences)


def _component(kind: str, name: str, version: str, licences: list[dict[str, Any]]) -> dict[str, Any]:
    reference = f"pkg:pypi/{name}@{version}"
    known = {"licenses": licences} if licences else {}
    return {"type": kind, "bom-ref": reference, "name": name, "version": version, "purl": reference, **known}


def compiled_in() -> list[dict[str, Any]]:
    """What is linked into the native core, with the version it was built with; nothing where there is no core."""
    try:
        from vortex.kernels._native import nanobind_version
    except ImportError:
        return []
    return [
        {
            "type": "library",
            "bom-ref": f"compiled-in:{name}",
            "name": name,
            **({"version": nanobind_version} if name == "nanobind" else {}),
            "licenses": [{"license": {"id": licence}}],
        }
        for name, licence in COMPILED_IN.items()
    ]


def bill(extras: set[str]) -> dict[str, Any]:
    found = reachable(DISTRIBUTION, extras)
    every = {name: component(name) for name in found}
    own = every.pop(DISTRIBUTION)
    own["type"] = "application"
    compiled = compiled_in()
    references = {name: part["bom-ref"] for name, part in {**every, DISTRIBUTION: own}.items()}
    linked = {DISTRIBUTION: [part["bom-ref"] for part in compiled]}
    depends = [
        {"ref": references[name], "dependsOn": [references[other] for other in asked] + linked.get(name, [])}
        for name, asked in found.items()
    ]
    depends += [{"ref": part["bom-ref"], "dependsOn": []} for part in compiled]
    components = [*every.values(), *compiled]
    serial = uuid.uuid5(NAMESPACE, json.dumps(components, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": depends,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file to write; default: print")
    parser.add_argument("--extra", action="append", default=[], help="an extra that is installed too")
    options = parser.parse_args()
    text = json.dumps(bill(set(options.extra)), indent=1) + "\n"
    if options.out is None:
        sys.stdout.write(text)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(f"{options.out}: {text.count('bom-ref')} components")


if __name__ == "__main__":
    main()
