"""The command line: one file per command group. `composition` alone picks concrete classes."""
