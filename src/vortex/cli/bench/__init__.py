"""`vortex bench` and its sub-commands."""
