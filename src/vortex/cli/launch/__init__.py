"""`vortex launch`: somebody else's program on this machine's model, with one command."""
