"""Measurements of knowledge: what is found, how fast, and what answers make of it."""
