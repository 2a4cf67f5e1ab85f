"""Bringing files into the store, and keeping the store as the files are."""
