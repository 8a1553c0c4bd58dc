"""`rsbyol`: BYOL between bands of Sentinel-2 and Sentinel-1 (Jain et al.).

Section numbers "sec. 3" are those of the specification in docs/methods.md.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.augmentation import ASPECT, BLUR_REACH, DRAWS, ERASED_ASPECT
from terraprobe.draws import draw_several
from terraprobe.method import Batch, Method, Note, Source
from terraprobe.methods._rsbyol import DISPLAY, KINDS, POLARISATIONS, RGB, VIEWS, RsbyolRecipe, polarisation
from terraprobe.modalities import MODALITIES
from terraprobe.towers import SHARED, TowerRecipe

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool

RANGES = MappingProxyType({"reflectance": (0.0, 1.0), "backscatter_db": (-25.0, 25.0), DISPLAY: (0.0, 1.0)})
"""[C] sec. 3 Normalisation: by unit what becomes 0, and how much higher what becomes 1 is. 1e4 DN is reflectance 1, and
[D] 255 of an image of 8 bits is 1."""

FIRST, SECOND = "first_view", "second_view"
PROJECTION = "projection"


class Rsbyol(Method):
    """One ResNet over single bands or triplets of Sentinel-2 and Sentinel-1, trained by BYOL between them."""

    recipe_model = RsbyolRecipe
    paper_chip_px = 256  # [P] sec. 3 Data: SEN12MS
    any_size = True  # a mean over places stands behind its convolutions: 256 px of SEN12MS, 64 px of EuroSAT
    shared = True
    keeps_last = True
    takes_weights = True
    augments = True
    full_gradient = True
    rank_share = 0.0  # speckle gives untrained features of SAR a rank of 33; a healthy run left 8 of it
    notes = (
        Note("loss", "2 - 2 cos, online prediction to target projection, both ways", Source("P", "sec. 3 Loss")),
        Note("target", "a copy of encoder and projector that gets no gradient", Source("P", "sec. 3 Network")),
        Note("batch norms of the target", "its own, of its own batches", Source("D", "stated nowhere; as in BYOL")),
        Note("last layer of a head", "linear with bias, without batch norm", Source("D", "stated nowhere; as in BYOL")),
        Note("optimiser", "SGD, one rate for all steps of an epoch", Source("D", "sec. 3 Optimiser: warm restarts")),
        Note("weight decay", "of every weight", Source("D", "stated nowhere; PyTorch's SGD")),
        Note("kept checkpoint", "the last epoch", Source("D", "validation loss says nothing of quality")),
        Note("restarts", "the weights before each are kept beside the encoder", Source("P", "sec. 3 Optimiser")),
        Note("bands of a step", "drawn for each chip among its usable ones", Source("P", "sec. 3 Views: random")),
        Note("rsbyol3", "three MS bands; VV, VH and a copy of one", Source("P", "sec. 3 Views")),
        Note("rsbyol3_rgb", "RGB; one SAR and two bands other than RGB", Source("P", "sec. 3 Views")),
        Note("order in a view", "as drawn; SAR first", Source("D", "stated nowhere")),
        Note("size of a view", "that of the chip", Source("D", "sec. 3: pretraining crop size")),
        Note(
            "crop, flips, rotation", "one bicubic interpolation, each flip p = .5", Source("D", "sec. 3 Augmentation")
        ),
        Note("sides of a crop", f"at most {ASPECT:.2f} to 1", Source("D", "sec. 3 Augmentation gives no ranges")),
        Note("sides of an erased rectangle", f"at most {ERASED_ASPECT} to 1", Source("D", "sec. 3 Augmentation")),
        Note("reach of the blur", f"{BLUR_REACH:g} of its largest SD", Source("D", "sec. 3 Augmentation")),
        Note("beyond the edge", "the chip mirrored", Source("D", "sec. 3 Augmentation")),
        Note("grey", "mean of the three channels", Source("D", "sec. 3 Augmentation: three channels alone [P]")),
        Note("colour jitter", "none", Source("P", "sec. 3 Augmentation")),
        Note("normalisation", "S2 [0, 1e4] / 1e4, S1 [-25, 0] / 25 + 1, clipped", Source("C", "sec. 3 Normalisation")),
        Note("images of 8 bits", "value / 255, for judging alone", Source("D", "sec. 3 Evaluation: RESISC45")),
        Note("missing and erased pixels", "0 after normalisation", Source("D", "stated nowhere")),
        Note("usable band", "at least half of its pixels observed", Source("D", "stated nowhere")),
        Note("SAR triplet at evaluation", "VV-VH-VV", Source("P", "sec. 3 Evaluation")),
        Note("a single band in a network of triplets", "enters three times", Source("P", "sec. 3 Baselines")),
        Note("embedding", "features after global average pooling", Source("P", "sec. 3 Evaluation")),
        Note("initialisation", "torchvision's", Source("D", "stated nowhere")),
    )

    def __init__(
        self,
        recipe: RsbyolRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        from terraprobe.models.byol import mlp

        super().__init__(recipe, inputs, layers, chip_px)
        self.sources = {KINDS[unit]: found for unit in KINDS if (found := _union(self.inputs, unit)) is not None}
        self._groups = {kind: _groups(recipe, kind) for kind in self.sources}
        self._picks = 1 + sum(count for groups in self._groups.values() for _, count in groups)
        self.draws = self._picks + 2 * DRAWS
        self._augmentation = recipe.augmentation()
        self._towers = self.build_towers(recipe, {}, chip_px)
        features, hidden, out = self.embedding_size(recipe), recipe.hidden, recipe.projection
        self._online = nn.Sequential(self._towers[SHARED], mlp(features, hidden, out))
        self._target = deepcopy(self._online).requires_grad_(requires_grad=False)
        self._predictor = mlp(out, hidden, out)
        self.network = nn.ModuleDict({"online": self._online, "predictor": self._predictor, "target": self._target})

    @classmethod
    def fit_inputs(cls, recipe: Any, pool: "ChipPool", chips: NDArray[np.intp], seed: int) -> "dict[str, TowerInput]":
        """Bands in [0, 1] by fixed ranges."""
        from terraprobe.normalisation import stored_bands

        for name, tower in recipe.towers.items():
            if recipe.learns(tower):
                stored_bands(pool, tower, name)
        return {name: in_unit_range(tower, whole=recipe.together(tower)) for name, tower in recipe.towers.items()}

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """The one ResNet."""
        from torch import nn

        from terraprobe.models.bottleneck import BottleneckResNet

        return nn.ModuleDict({SHARED: BottleneckResNet(recipe.channels, recipe.width, recipe.blocks)})

    @staticmethod
    def embedding_size(recipe: Any) -> int:
        """Channels of the last stage."""
        return 32 * int(recipe.width)

    @property
    def towers(self) -> "nn.ModuleDict":
        """The online network's ResNet."""
        return self._towers

    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Chips with usable bands for both views."""
        enough = np.ones(len(pool), np.bool_)
        for kind, groups in self._groups.items():
            usable = self._usable(pool, kind)
            for members, count in groups:
                enough &= usable[:, members].sum(axis=1) >= count
        return enough

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """The bands of both views, and the random numbers that augment them."""
        import torch

        picks, first, second = np.split(uniform, [self._picks, self._picks + DRAWS], axis=1)
        batch = {"draws": {FIRST: torch.from_numpy(first).float(), SECOND: torch.from_numpy(second).float()}}
        for kind, bands in self.draw_bands(pool, chips, picks).items():
            source = self.sources[kind]
            digital, samples = partial(pool.digital, source.modality), bands.ravel()
            dn = source.read(digital, self._columns(pool, kind), np.repeat(chips, bands.shape[1]), samples)
            batch[kind] = {"dn": torch.from_numpy(dn), "samples": torch.from_numpy(samples)}
        return batch

    def draw_bands(
        self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]
    ) -> dict[str, NDArray[np.intp]]:
        """Choose the bands of both views.

        Args:
            pool: the chips.
            chips: eligible ones, (B,).
            uniform: random numbers in [0, 1), (B, bands to draw + 1).

        Returns:
            Kind to numbers of its bands, (B, slots of that kind in both views), as `VIEWS` orders them.
        """
        found, place = {}, 0
        for kind, groups in self._groups.items():
            usable, parts = self._usable(pool, kind)[chips], []
            for members, count in groups:
                parts.append(draw_several(usable & members, uniform[:, place : place + count]))
                place += count
            if parts:
                found[kind] = np.concatenate(parts, axis=1)
        if self.recipe.views == "rsbyol3":
            again = (uniform[:, -1] * len(POLARISATIONS)).astype(np.intp)
            found["sar"] = np.column_stack([found["sar"], found["sar"][np.arange(len(chips)), again]])
        return found

    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """What both views, not augmented, look like to the encoder, and the first one's projection."""
        import torch

        from terraprobe.models.byol import project_batch

        first, second = (self._towers[SHARED](images).float() for images in self._images(batch))
        found = {FIRST: first, SECOND: second, PROJECTION: project_batch(self._online[1], first)}
        return {name: (z, torch.ones(len(z), dtype=torch.bool, device=z.device)) for name, z in found.items()}

    def loss(self, batch: Batch) -> "Tensor":
        """The distance between what one view predicts and the target says of the other, both ways."""
        import torch

        from terraprobe.models.byol import distance

        one, two = (augmented for _, augmented in self.augmented_views(batch))
        with torch.no_grad():
            targets = self._target(one), self._target(two)
        predictions = self._predictor(self._online(one)), self._predictor(self._online(two))
        return distance(predictions[0], targets[1]) + distance(predictions[1], targets[0])

    def augmented_views(self, batch: Batch) -> "list[tuple[Tensor, Tensor]]":
        """Both views of every chip, before and after augmentation."""
        draws = batch["draws"]
        return [(x, self._augmentation(x, draws[v])) for x, v in zip(self._images(batch), (FIRST, SECOND), strict=True)]

    def view_bands(self, batch: Batch) -> list[list[str]]:
        """Names of the bands of both views, by chip."""
        chips = len(batch["draws"][FIRST])
        slots = {}
        for kind in self.sources.keys() & batch.keys():
            drawn = batch[kind]["samples"].view(chips, -1).T.tolist()
            slots[kind] = iter([[self.sources[kind].bands[k] for k in column] for column in drawn])
        views = [[next(slots[kind]) for kind in view] for view in VIEWS[self.recipe.views]]
        return [["+".join(names) for names in zip(*view, strict=True)] for view in views]

    def after_start(self) -> None:
        """The target is a copy of what training starts from."""
        self._target.load_state_dict(self._online.state_dict())

    def after_step(self) -> None:
        """The target follows the online network."""
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        follow = get_ema_multi_avg_fn(self.recipe.tau)  # type: ignore[no-untyped-call]
        follow(list(self._target.parameters()), list(self._online.parameters()), None)

    def optimiser(self) -> "Optimizer":
        """SGD with momentum over the online network."""
        import torch

        trained = [*self._online.parameters(), *self._predictor.parameters()]
        recipe = self.recipe
        return torch.optim.SGD(trained, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)

    def learning_rate(self, step: int, steps: int) -> float:
        """Cosine with warm restarts, the same for all steps of an epoch."""
        epoch = step // (steps // self.recipe.epochs)
        length = self.recipe.restart_epochs
        while epoch >= length:
            epoch, length = epoch - length, length * self.recipe.restart_factor
        low, high = self.recipe.lr_min, self.recipe.lr
        return float(low + (high - low) * 0.5 * (1 + math.cos(math.pi * epoch / length)))

    def _images(self, batch: Batch) -> "list[Tensor]":
        """Both views before augmentation, (B, channels, H, W) each."""
        import torch

        bands = {}
        for kind, source in self.sources.items():
            if kind in batch:
                images = source.prepare(batch[kind]["dn"], batch[kind]["samples"], self.layers[source.modality])
                rows = images.view(len(batch["draws"][FIRST]), -1, *images.shape[-2:])
                bands[kind] = iter(rows.unbind(1))
        return [torch.stack([next(bands[kind]) for kind in view], dim=1) for view in VIEWS[self.recipe.views]]

    def _usable(self, pool: "ChipPool", kind: str) -> NDArray[np.bool_]:
        """Usable bands of a kind, (chip, band)."""
        return pool.usable(self.sources[kind].modality)[:, self._columns(pool, kind)]

    def _columns(self, pool: "ChipPool", kind: str) -> NDArray[np.intp]:
        source = self.sources[kind]
        channels = pool.usable(source.modality).shape[1]
        return source.columns(pool.layers[source.modality], channels, f"bands of {source.modality}")


METHOD = Rsbyol


def in_unit_range(tower: TowerRecipe, *, whole: bool) -> "TowerInput":
    """What a tower takes: its bands in [0, 1] by the fixed ranges of their unit.

    Args:
        tower: what it sees.
        whole: whether its bands enter together.
    """
    from terraprobe.normalisation import TowerInput

    unit, bands = MODALITIES[tower.modality].unit, tower.band_names
    low, span = ((end,) * len(bands) for end in RANGES[unit])
    return TowerInput(tower.modality, unit, bands, False, low, span, whole=whole, clip=(0.0, 1.0))


def _union(inputs: "Mapping[str, TowerInput]", unit: str) -> "TowerInput | None":
    """All bands of a unit that towers see, to be read one at a time; None where they see none."""
    towers = [tower for tower in inputs.values() if tower.unit == unit]
    if not towers:
        return None
    bands = tuple(dict.fromkeys(band for tower in towers for band in tower.bands))
    low, span = (values[:1] * len(bands) for values in (towers[0].mean, towers[0].std))
    return replace(towers[0], bands=bands, mean=low, std=span, whole=False)


def _groups(recipe: RsbyolRecipe, kind: str) -> list[tuple[NDArray[np.bool_], int]]:
    """From which bands of a kind how many are drawn, in the order of the slots of both views."""
    bands, wanted = recipe.bands(kind), recipe.wanted(kind)
    among = [np.ones(len(bands), np.bool_)]
    counts = [wanted]
    if recipe.views == "rsbyol3" and kind == "sar":
        among = [np.array([polarisation(band) == one for band in bands]) for one in POLARISATIONS]
        counts = [1] * len(among)
    if recipe.views == "rsbyol3_rgb" and kind == "ms":
        rgb = recipe.towers[RGB].band_names
        fixed = [np.array([band == one for band in bands]) for one in rgb]
        among, counts = [*fixed, ~np.any(fixed, axis=0)], [1] * len(rgb) + [wanted - len(rgb)]
    return [(members, count) for members, count in zip(among, counts, strict=True) if count]
