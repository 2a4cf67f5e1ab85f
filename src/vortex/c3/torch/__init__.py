"""C3 under a torch model: paged linears, their attachment, device memory."""
