"""This machine: cores, memory, disk, GPUs, and how torch is set up on it."""
