"""`clip3`: single-channel ViT towers, one for each modality, trained by a pairwise CLIP loss (Allen et al.).

Section numbers "sec. 2" are those of the specification in docs/methods.md.
"""

import math
from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from terraprobe.draws import draw_usable
from terraprobe.method import Batch, Method, Note, Source, TrainRecipe
from terraprobe.towers import TowerRecipe, check_tower

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool

INITIAL_SCALE = 1 / 0.07
"""[D] sec. 2 Loss: initial logit scale, as in CLIP."""

MAX_SCALE = 100.0
"""[D] sec. 2 Loss: the logit scale is clamped here, as in CLIP."""

MIN_TOWERS = 2
"""A chip with one modality is in no pair."""

_PAPER_TOWERS = MappingProxyType(
    {name: TowerRecipe(modality=name) for name in ("s1_coherence", "s1_grd_monthly", "s2_rgb_monthly")}
)


class Clip3Recipe(TrainRecipe):
    """Recipe of `clip3`; the defaults are the paper's full size.

    Attributes:
        towers: name to what the tower sees, in the order of their names.
        width: of the tokens.
        depth: layers of each tower.
        heads: attention heads.
        patch_px: side of a patch.
        projection: length of the embeddings.
    """

    towers: Annotated[dict[str, TowerRecipe], Source("P", "sec. 2 Modalities: s2rgbm, s1grdm, gunw")] = dict(
        _PAPER_TOWERS
    )
    conditioning: Annotated[Literal["none"], Source("P", "sec. 2 Towers take an image alone")] = "none"
    width: Annotated[int, Field(ge=1), Source("P", "sec. 2 Towers: ViT-B/16")] = 768
    depth: Annotated[int, Field(ge=1), Source("P", "sec. 2 Towers: ViT-B/16")] = 12
    heads: Annotated[int, Field(ge=1), Source("P", "sec. 2 Towers: ViT-B/16")] = 12
    patch_px: Annotated[int, Field(ge=1), Source("P", "sec. 2 Towers: ViT-B/16")] = 16
    projection: Annotated[int, Field(ge=1), Source("I", "sec. 2 Towers: Linear(768, 768), from 259M in all")] = 768
    epochs: Annotated[int, Field(ge=1), Source("D", "sec. 2 gives none; the best validation loss is kept")] = 100
    batch_size: Annotated[int, Field(ge=2), Source("D", "sec. 2 gives none; negatives are global")] = 512
    lr: Annotated[float, Field(gt=0), Source("D", "sec. 2 Loss: AdamW")] = 1e-4
    weight_decay: Annotated[float, Field(ge=0), Source("D", "sec. 2 Loss: AdamW")] = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1), Source("D", "sec. 2 Loss: warm-up, then cosine")] = 0.05

    @field_validator("towers")
    @classmethod
    def _by_name(cls, towers: dict[str, TowerRecipe]) -> dict[str, TowerRecipe]:
        """Sort: JSON on the way here may have lost the order, and draws and concatenation must not depend on it."""
        return dict(sorted(towers.items()))

    @model_validator(mode="after")
    def _towers_fit(self) -> "Clip3Recipe":
        if len(self.towers) < MIN_TOWERS:
            raise ValueError(f"towers: found {len(self.towers)}, a contrastive loss needs at least {MIN_TOWERS}")
        for name, tower in self.towers.items():
            check_tower(name, tower)
        for (one, a), (two, b) in combinations(self.towers.items(), 2):
            shared = set(a.band_names) & set(b.band_names)
            if a.modality == b.modality and shared:
                raise ValueError(
                    f"towers {one} and {two} both see {', '.join(sorted(shared))} of {a.modality}; the same pixels on "
                    "both sides of a pair teach nothing. Give them bands of their own."
                )
        if self.width % self.heads:
            raise ValueError(f"heads: found {self.heads}, it must divide width {self.width}")
        return self

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that patches do not fill.

        Raises:
            ValueError: `patch_px` does not divide the side.
        """
        if chip_px % self.patch_px:
            raise ValueError(f"patch_px {self.patch_px} does not divide chips of {chip_px} px")


class Clip3(Method):
    """Single-channel ViT towers, each with a projection, and one logit scale; trained by a pairwise CLIP loss."""

    recipe_model = Clip3Recipe
    paper_chip_px = 448  # [P] sec. 2 Chip: 448 px at 10 m
    notes = (
        Note("loss", "mean over modality pairs of the symmetric InfoNCE", Source("P", "sec. 2 Loss")),
        Note("negatives", "gathered over ranks, with gradient", Source("D", "sec. 2 Loss: the global batch [P]")),
        Note("logit scale", f"learnable, init 1/0.07, at most {MAX_SCALE:g}", Source("D", "sec. 2 Loss, as in CLIP")),
        Note("optimiser", "AdamW, cosine to zero, no gradient clipping", Source("D", "sec. 2 Loss")),
        Note("kept checkpoint", "lowest validation loss, fixed draws", Source("P", "sec. 2 Loss")),
        Note("channel of a step", "one random usable channel per modality and chip", Source("P", "sec. 2 Towers")),
        Note("usable channel", "at least half of its pixels observed", Source("D", "methods state no share")),
        Note("missing modality", "drops the chip from the pairs that need it", Source("D", "sec. 2 Missing data")),
        Note("read-out", "CLS token, final LayerNorm, linear projection", Source("I", "sec. 2 Towers: 259M in all")),
        Note(
            "initialisation", "PyTorch's own; tokens and positions truncated N(0, 0.02)", Source("D", "stated nowhere")
        ),
        Note("augmentation", "none", Source("D", "stated nowhere")),
        Note("normalisation", "mean and SD per channel, 1,000 train chips", Source("C", "sec. 2 Normalisation")),
        Note("variable channels", "one mean and SD for all of a modality's", Source("D", "they have no identity")),
        Note("embedding", "mean over usable channels", Source("D", "sec. 2 Embedding")),
        Note("embedding, paper mode", "one random usable channel", Source("P", "sec. 2 Embedding"), default=False),
    )

    def __init__(
        self,
        recipe: Clip3Recipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        import torch
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        self.draws = len(recipe.towers)
        self._towers = self.build_towers(recipe, {name: len(i.bands) for name, i in inputs.items()}, chip_px)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.network = nn.ModuleDict({"towers": self._towers})
        self.network.register_parameter("log_scale", self.log_scale)

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """ViT of one channel, then a projection, for each tower."""
        from torch import nn

        from terraprobe.models.vit import ProjectedViT, ViT

        return nn.ModuleDict(
            {
                name: ProjectedViT(
                    ViT(chip_px, recipe.patch_px, recipe.width, recipe.depth, recipe.heads),
                    nn.Linear(recipe.width, recipe.projection),
                )
                for name in recipe.towers
            }
        )

    @staticmethod
    def embedding_size(recipe: Any) -> int:
        """The projection's length."""
        return int(recipe.projection)

    @property
    def towers(self) -> "nn.ModuleDict":
        """Tower to ViT and projection."""
        return self._towers

    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Chips with a usable channel in at least two towers."""
        having = np.stack([_usable(pool, tower).any(axis=1) for tower in self.inputs.values()])
        enough: NDArray[np.bool_] = having.sum(axis=0) >= MIN_TOWERS
        return enough

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """One random usable channel per tower and chip."""
        import torch

        batch = {}
        for place, (name, tower) in enumerate(self.inputs.items()):
            bands = draw_usable(_usable(pool, tower)[chips], uniform[:, place])
            rows = np.flatnonzero(bands >= 0)
            columns = _columns(pool, tower)[bands[rows]]
            dn = pool.digital(tower.modality, chips[rows], columns)
            batch[name] = {
                "dn": torch.from_numpy(dn),
                "bands": torch.from_numpy(bands[rows]),
                "present": torch.from_numpy(bands >= 0),
            }
        return batch

    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """Embeddings of every chip and tower, zero where the chip lacks it."""
        found = {}
        for name, part in batch.items():
            tower = self.inputs[name]
            images = tower.prepare(part["dn"], part["bands"], self.layers[tower.modality])
            present = part["present"]
            out = self._towers[name](images).float()
            whole = out.new_zeros(len(present), out.shape[1])
            whole[present] = out
            found[name] = (whole, present)
        return found

    def loss(self, batch: Batch) -> "Tensor":
        """Mean over tower pairs of the symmetric InfoNCE, over the chips of all ranks."""
        from terraprobe.ranks import gather_rows

        embedded = self.embed(batch)
        embeddings = {name: gather_rows(e) for name, (e, _) in embedded.items()}
        present = {name: gather_rows(p) for name, (_, p) in embedded.items()}
        return pairwise_loss(embeddings, present, self.log_scale.exp())

    def after_step(self) -> None:
        """Clamp the logit scale."""
        self.log_scale.data.clamp_(max=math.log(MAX_SCALE))


METHOD = Clip3


def _columns(pool: "ChipPool", tower: "TowerInput") -> NDArray[np.intp]:
    usable = pool.usable(tower.modality)
    return tower.columns(pool.layers[tower.modality], usable.shape[1], f"tower of {tower.modality}")


def _usable(pool: "ChipPool", tower: "TowerInput") -> NDArray[np.bool_]:
    """Usable channels among the tower's own, (chip, band)."""
    return pool.usable(tower.modality)[:, _columns(pool, tower)]


def pairwise_loss(
    embeddings: "Mapping[str, Tensor]", present: "Mapping[str, Tensor]", scale: "Tensor | float"
) -> "Tensor":
    """Mean over tower pairs of the symmetric InfoNCE.

    A pair is taken over the chips that have both towers; one with fewer than two such chips has no negatives and
    is left out of the mean.

    Args:
        embeddings: tower to (B, D), of any length: cosine similarities are compared.
        present: tower to (B,), whether the chip has it.
        scale: factor of the similarities.

    Returns:
        A scalar; 0 where no pair has two chips.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    losses = []
    for a, b in combinations(embeddings, 2):
        both = present[a] & present[b]
        if int(both.sum()) < MIN_TOWERS:
            continue
        one, two = (F.normalize(embeddings[name][both], dim=1) for name in (a, b))
        logits = scale * one @ two.T
        target = torch.arange(len(logits), device=logits.device)
        losses.append((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2)
    if not losses:
        return torch.stack([e.sum() * 0.0 for e in embeddings.values()]).sum()
    return torch.stack(losses).mean()
