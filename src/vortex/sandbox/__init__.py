"""Confinement for any command: no network, no secrets, one writable folder, bounded in everything. Knows no agent.

    from vortex.sandbox import Policy, run
    done = run(["python", "-m", "pytest", "-q"], Policy(folder=folder, read=python_paths(), time_s=30))

Promises to fail closed (SandboxRefused) where the walls cannot be had. Linux only, x86-64 and 64-bit ARM; not a virtual
machine: a fault in the kernel itself is outside what it can hold.
"""

from vortex.sandbox.launch.plan import TIERS
from vortex.sandbox.policy import Policy, python_paths
from vortex.sandbox.running import Completed
from vortex.sandbox.tiers import Probed, probe, probe_all, run

__all__ = ["TIERS", "Completed", "Policy", "Probed", "probe", "probe_all", "python_paths", "run"]
