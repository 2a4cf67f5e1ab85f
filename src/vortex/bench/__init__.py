"""Measurements: each checks what it is about to time, prints a table for people and a line of JSON for programs."""
