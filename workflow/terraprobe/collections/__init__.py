"""Places become collections: chip grid, splits, context."""
