"""`python -m vortex.gateway`."""

import sys

from vortex.gateway.serve import main

if __name__ == "__main__":
    sys.exit(main())
