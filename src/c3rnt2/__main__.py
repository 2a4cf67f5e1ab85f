"""`python -m c3rnt2`, one program with `vortex`."""

from vortex.machine.python_program import leave_out_working_folder

leave_out_working_folder()

from vortex.cli.app import main  # noqa: E402 - not before the path is what it should be

if __name__ == "__main__":
    main()
