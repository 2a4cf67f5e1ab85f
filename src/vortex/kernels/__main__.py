"""`python -m vortex.kernels`: which kernels this installation uses. A built wheel is tested with it.

`--require-native` ends with 1 where the compiled core is not there: a wheel without it must not be published.
"""

import sys

from vortex.kernels import dispatch
from vortex.machine.cores import compute_threads

if __name__ == "__main__":
    choices = ", ".join(dispatch.choices())
    print(f"kernels: {dispatch.selected()} (possible here: {choices}), {compute_threads()} threads")
    if "--require-native" in sys.argv[1:] and dispatch.native_module() is None:
        sys.exit("the compiled core is not in this installation")
