"""Attempts to get out of the sandbox, and what became of them: the judge of `vortex.sandbox`.

Each attempt is a small program that tries one thing; beside it stands an outside world of its own (a secret, a file,
servers, a process) in which harm can be seen. Where that is safe, the same program also runs without walls and must
succeed there, so that an attempt that could never work proves nothing.
"""
