"""The program's earlier name: `python -m c3rnt2` is `python -m vortex`."""
