"""`python -m c3rnt2`, one program with `vortex`."""

from vortex.cli.app import main

if __name__ == "__main__":
    main()
