"""Languages that can be repaired: where functions stand, what can be changed in one, when two texts are one program."""
