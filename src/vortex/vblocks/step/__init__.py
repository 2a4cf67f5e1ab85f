"""A core's step in numpy: the readable twin of the native form."""
