"""A model as data: layers made of steps, steps made of blocks. families/ draws them, decoder/ sweeps them."""
