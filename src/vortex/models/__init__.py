"""What can be swept: decoders, their files, and the computes that run them."""
