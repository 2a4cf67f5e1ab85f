"""`python -m vortex.gateway`."""

import sys

from vortex.machine.python_program import leave_out_working_folder

leave_out_working_folder()

from vortex.gateway.serve import main  # noqa: E402 - not before the path is what it should be

if __name__ == "__main__":
    sys.exit(main())
