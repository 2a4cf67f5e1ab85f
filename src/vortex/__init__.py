"""Vortex: a person's own language model, on their own machine.

Importing the package loads neither torch nor a web framework; rooms are imported by whoever needs them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vortex")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0+source"

__all__ = ["__version__"]
