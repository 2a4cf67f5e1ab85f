"""`python -m vortex`."""

from vortex.cli.app import main

if __name__ == "__main__":
    main()
