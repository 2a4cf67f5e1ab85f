"""`python -m vortex.kernels`: which kernels this installation uses. A built wheel is tested with it."""

from vortex.kernels import dispatch
from vortex.machine.cores import compute_threads

if __name__ == "__main__":
    choices = ", ".join(dispatch.choices())
    print(f"kernels: {dispatch.selected()} (possible here: {choices}), {compute_threads()} threads")
