"""`sscl_unifeat`: the first stage of `sscl`, one extractor whose features agree over channels (Montanaro et al.).

Section numbers "sec. 4" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from terraprobe.draws import draw_several
from terraprobe.method import Batch, Note, Source
from terraprobe.methods._sscl import SHARED_NOTES, JointMethod, JointRecipe
from terraprobe.towers import SHARED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool

CHANNELS = 2
"""[P] sec. 4 UniFeat: random channels of each chip."""

_ONE, _TWO, _NEGATIVE, _SIDE, _TOP, _LEFT = range(6)
HALF = 0.5
STRIP_PX = 16
"""Rows of pixels whose projections and similarities are in memory at a time; they are made again backwards. A step with
32 chips of 128 px and a head of 64 then took 1.0 GB and 5.0 s on a core, 1.5 GB and 7.3 s with all rows at once.
"""


class UniFeatRecipe(JointRecipe):
    """Recipe of UniFeat.

    Attributes:
        projection: features of the head that similarities are taken of.
        temperature: tau of the loss.
        crop_px: smallest and largest side of the crops; one side a batch, one place a chip.
    """

    extractor: Annotated[Literal["shared"], Source("P", "sec. 4 UniFeat: of the shared extractor")] = "shared"
    projection: Annotated[int, Field(ge=1), Source("D", "sec. 4 UniFeat: head 64")] = 64
    temperature: Annotated[float, Field(gt=0), Source("D", "sec. 4 UniFeat: tau")] = 0.1
    crop_px: Annotated[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], Source("D", "sec. 4 UniFeat: crops 64-128")
    ] = (64, 128)
    epochs: Annotated[int, Field(ge=1), Source("D", "sec. 4 UniFeat")] = 50
    lr: Annotated[float, Field(gt=0), Source("D", "sec. 4 UniFeat: Adam")] = 1e-3

    @model_validator(mode="after")
    def _smaller_first(self) -> "UniFeatRecipe":
        if self.crop_px[0] > self.crop_px[1]:
            raise ValueError(f"crop_px: found {list(self.crop_px)}, allowed two sides, the smaller one first")
        return self

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that crops do not fit into.

        Raises:
            ValueError: the largest crop is larger.
        """
        if chip_px < self.crop_px[1]:
            raise ValueError(
                f"crop_px {list(self.crop_px)} does not fit chips of {chip_px} px, allowed at most their side"
            )


class UniFeat(JointMethod):
    """A shared single-channel extractor whose features of a pixel agree over channels (first stage of `sscl`)."""

    recipe_model = UniFeatRecipe
    draws = 6
    notes = (
        Note("loss", "NT-Xent of every pixel, over the chips of the batch of all ranks", Source("P", "sec. 4 UniFeat")),
        Note("denominator", "the negatives alone, as printed", Source("P", "sec. 4 UniFeat")),
        Note("anchor", "the first of the two drawn channels", Source("I", "sec. 4 UniFeat: both are drawn alike")),
        Note("negative of the others", "one of a chip's two channels, drawn", Source("P", "sec. 4 UniFeat")),
        Note("channels of a step", "two random usable ones of each chip", Source("P", "sec. 4 UniFeat")),
        Note("projection head", "1x1 convolution, dropped later", Source("P", "sec. 4 UniFeat")),
        Note("usable chip", "two channels at least half observed", Source("D", "DFC2020 has no gaps")),
        Note("embedding", "features of all channels, averaged over the pixels", Source("D", "the paper has none")),
        Note(
            "watched for collapse",
            "features of one drawn channel at the middle pixel",
            Source("D", "the paper has none"),
        ),
        *SHARED_NOTES,
    )

    def __init__(
        self,
        recipe: UniFeatRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        self.head = nn.Conv2d(recipe.features, recipe.projection, 1)
        self.network = nn.ModuleDict({"towers": self._towers, "head": self.head})

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """The extractor alone."""
        from torch import nn

        from terraprobe.models.channelwise import JointNetwork, SharedExtractor

        return nn.ModuleDict({SHARED: JointNetwork(SharedExtractor(recipe.features))})

    @staticmethod
    def embedding_size(recipe: Any) -> int:
        """Features of all channels."""
        return int(recipe.channels * recipe.features)

    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Chips with two usable channels."""
        enough: NDArray[np.bool_] = self.usable(pool).sum(axis=1) >= CHANNELS
        return enough

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """Two random usable channels of each chip, cropped alike: rows b and B + b are of chip b."""
        import torch

        channels = draw_several(self.usable(pool)[chips], uniform[:, [_ONE, _TWO]]).T.ravel()
        from_one = torch.from_numpy(uniform[:, _NEGATIVE] < HALF)
        batch: dict[str, dict[str, Any]] = {"draws": {"from_one": from_one}}
        before = 0
        for name, tower in self.inputs.items():
            bands = channels - before
            rows = np.flatnonzero((bands >= 0) & (bands < len(tower.bands)))
            of = rows % len(chips)
            dn = pool.digital(tower.modality, chips[of], self.columns(pool, name)[bands[rows]])
            arrays = {"dn": crop(dn, self._side(uniform), uniform[of]), "bands": bands[rows], "rows": rows}
            batch[name] = {key: torch.from_numpy(array) for key, array in arrays.items()}
            before += len(tower.bands)
        return batch

    def _side(self, uniform: NDArray[np.float64]) -> int:
        """Side of all crops of a batch, by the numbers of its first chip, which the first rank has."""
        from terraprobe.ranks import of_first

        least, most = self.recipe.crop_px
        return of_first(lambda: int(least + uniform[0, _SIDE] * (most - least + 1)))

    def images(self, batch: Batch) -> "Tensor":
        """Normalised crops of one channel, (2 B, 1, crop, crop)."""
        import torch

        some = batch[next(iter(self.inputs))]["dn"]
        count = CHANNELS * len(batch["draws"]["from_one"])
        images = torch.empty(count, 1, *some.shape[1:], device=some.device)
        for name, tower in self.inputs.items():
            part, one_each = batch[name], replace(tower, whole=False)
            images[part["rows"]] = one_each.prepare(part["dn"], part["bands"], self.layers[tower.modality])
        return images

    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """Features of the first drawn channel of each crop, at its middle pixel.

        The loss tells pixels apart and lets their mean go: twelve epochs left .07 of a spread of .2 between means, and
        .4 of .7 between pixels.
        """
        import torch

        pixels = self.encoder.pixels(self.images(batch)[: len(batch["draws"]["from_one"])])
        z = pixels[:, :, pixels.shape[2] // 2, pixels.shape[3] // 2].float()
        return {SHARED: (z, torch.ones(len(z), dtype=torch.bool, device=z.device))}

    def loss(self, batch: Batch) -> "Tensor":
        """NT-Xent of every pixel."""
        import torch
        from torch.utils.checkpoint import checkpoint

        features = self.encoder.pixels(self.images(batch))
        parts: list[Tensor] = [
            checkpoint(self._strip_loss, strip, batch["draws"]["from_one"], use_reentrant=False) * strip.shape[2]
            for strip in features.split(STRIP_PX, dim=2)  # type: ignore[no-untyped-call]
        ]
        return torch.stack(parts).sum() / features.shape[2]

    def _strip_loss(self, features: "Tensor", from_one: "Tensor") -> "Tensor":
        """Mean over the pixels of a strip of the crops."""
        from terraprobe.models.pixel_nt_xent import pixel_nt_xent

        one, two = self.head(features).chunk(CHANNELS)
        return pixel_nt_xent(one, two, from_one, self.recipe.temperature)


METHOD = UniFeat


def crop(images: NDArray[Any], side: int, uniform: NDArray[np.float64]) -> NDArray[Any]:
    """Squares at random places.

    Args:
        images: (B, y, x).
        side: of the squares.
        uniform: random numbers in [0, 1), (B, draws).

    Returns:
        (B, side, side).
    """
    corners = (uniform[:, [_TOP, _LEFT]] * (images.shape[1] - side + 1)).astype(np.intp)
    cut = np.empty((len(images), side, side), images.dtype)
    for out, image, (top, left) in zip(cut, images, corners, strict=True):
        out[:] = image[top : top + side, left : left + side]
    return cut
