"""`python -m vortex.kernels`: which kernels this installation uses. A built wheel is tested with it."""

from vortex.kernels import dispatch

if __name__ == "__main__":
    print(f"kernels: {dispatch.selected()} (possible here: {', '.join(dispatch.choices())}), {dispatch.num_threads()} threads")
