"""Diffs, gates, curves and strangers' text, made fit to be shown."""
