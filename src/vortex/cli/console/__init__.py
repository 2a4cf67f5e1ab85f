"""Composition of the console: what it shows and decides about, and the command that opens it."""
