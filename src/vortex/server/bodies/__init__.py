"""Request bodies: what a client may send, checked strictly, turned into the values of `vortex.types`."""
