"""`vortex bench paged-linear` under the name that the documents use."""

import sys

from vortex.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench", "paged-linear"]
    main()
