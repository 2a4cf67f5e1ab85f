"""The half of the sandbox that runs in its own small interpreter, standard library alone.

`vortex.sandbox.running` starts `supervisor.main` in a fresh interpreter without site-packages, so that no thread, lock,
secret or descriptor of the caller is there to inherit, and so that start-up stays in the tens of milliseconds.
Modules here import nothing outside this folder but the standard library.
"""
