"""`python -m vortex.kernels`: which kernels this installation uses. A built wheel is tested with it."""

from vortex.kernels import dispatch

if __name__ == "__main__":
    choices = ", ".join(dispatch.choices())
    print(f"kernels: {dispatch.selected()} (possible here: {choices}), {dispatch.num_threads()} threads")
