"""Who gives a chip back: the column `init` in the tables of autoencoders."""

TRAINED = "trained"

UNTRAINED = "untrained"
"""All twins of an encoder with fresh weights; one of them is `random-<k>`."""

MEAN = "mean"
"""The mean train chip: the best answer that does not look at the chip."""

FLOOR = ""
"""Of an answer that is no network's."""

IMAGE_STATS = "image_stats"
"""Statistics of the image's values, in place of an encoder."""
