"""`vortex bench repair`: programs with one fault each, and how many a repair puts right."""
