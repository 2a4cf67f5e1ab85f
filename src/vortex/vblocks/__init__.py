"""The V-Blocks model: configuration, checkpoint, weights, and the forms that compute it."""
