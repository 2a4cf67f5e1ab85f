"""Vortex: a person's own language model, on their own machine.

Importing the package loads neither torch nor a web framework; rooms are imported by whoever needs them.
"""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION, OLD_DISTRIBUTION = (
    "klimeai",
    "vortex",
)  # the old name is another program's on the index


def _version() -> str:
    for name in (DISTRIBUTION, OLD_DISTRIBUTION):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "0.0.0+source"  # a source tree that was never installed


__version__ = _version()

__all__ = ["DISTRIBUTION", "OLD_DISTRIBUTION", "__version__"]
