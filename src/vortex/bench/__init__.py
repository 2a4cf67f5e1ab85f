"""Measurements: each checks that what it times is right, prints a table for people and one line of JSON for programs."""
