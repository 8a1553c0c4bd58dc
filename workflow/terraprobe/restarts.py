"""Stage `take-restart`: weights after a restart of the learning rate, kept beside the encoder that training ended with.

Training writes them into its state folder, which a job that is cut off does not lose; here they become an artifact.
"""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from terraprobe.artifacts import read_json, sha256_file, write_bytes
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Out, Recipe


class RestartRecipe(Recipe):
    """Which weights.

    Attributes:
        epoch: after which they were kept.
    """

    epoch: int = Field(ge=1)


def take_restart(*, card: In, recipe: RestartRecipe, weights: Out) -> None:
    """Copy the weights of one restart out of the training state.

    Args:
        card: `card.json` of the encoder, which has their digest.
        recipe: after which epoch.
        weights: `encoder-epoch<epoch>.safetensors`, of the layout `terraprobe`.

    Raises:
        TerraprobeError: the card knows no such epoch, or its training state is gone.
    """
    kept = read_json(card).get("restarts", {})
    wanted = kept.get(str(recipe.epoch))
    if wanted is None:
        raise TerraprobeError(
            f"{card}: no weights were kept after epoch {recipe.epoch}, allowed {', '.join(kept) or 'none'}. They are "
            "those of the restarts of its learning rate."
        )
    for path in sorted(card.parent.glob(f"state-*/{restart_path(Path(), recipe.epoch)}")):
        if sha256_file(path) == wanted:
            write_bytes(weights, path.read_bytes())
            return
    raise TerraprobeError(
        f"{card.parent}: no training state holds the weights after epoch {recipe.epoch} that {card.name} tells of. "
        f"Delete {card.name} and run again."
    )


def restart_path(folder: Path, epoch: int) -> Path:
    """Where training keeps the weights after an epoch."""
    return folder / f"epoch-{epoch:06d}.safetensors"


def restart_digests(folder: Path, epochs: Iterable[int]) -> dict[str, str]:
    """SHA-256 of the weights after each of some epochs."""
    return {str(epoch): sha256_file(restart_path(folder, epoch)) for epoch in epochs}
