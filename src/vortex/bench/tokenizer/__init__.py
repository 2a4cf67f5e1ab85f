"""Vortex-Tok beside other tokenizers: size, speed, and what a small model learns through each."""
