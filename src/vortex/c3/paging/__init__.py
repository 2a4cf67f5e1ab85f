"""Which bytes are resident: readers, the ring, slots, policies and pagers. Torch-free."""
