"""Earth Engine: what is asked of it, how a shard of chips becomes requests, and the stage that fetches them."""
