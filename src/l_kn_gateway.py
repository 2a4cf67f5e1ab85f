"""`PYTHONPATH=. python3 src/l_kn_gateway.py`: the gateway, as `vortex gateway`."""

import sys

from vortex.gateway.serve import main

if __name__ == "__main__":
    sys.exit(main())
