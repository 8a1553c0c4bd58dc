"""A whole training step of `rsbyol`, and of lightly's BYOL example built from its own modules, on the same chips."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.train.arms import count
from benchmarks.train.timing import Plan, Row, Stepper, take_turns
from benchmarks.train.verdict import Spread, ratio
from terraprobe.augmentation import ASPECT, DRAWS, ERASED_ASPECT
from terraprobe.chips.store import StoreLayer
from terraprobe.errors import TerraprobeError
from terraprobe.methods._rsbyol import RsbyolRecipe
from terraprobe.methods.rsbyol import FIRST, RANGES, SECOND, Rsbyol
from terraprobe.modalities import MODALITIES
from terraprobe.normalisation import TowerInput
from terraprobe.towers import SHARED

OURS, PEER = "rsbyol", "lightly"
BAR_BF16 = 0.65
"""Set before anything was measured: our step in bf16 over lightly's example in fp32, on a CPU with avx512_bf16."""


@dataclass(frozen=True)
class Pairs:
    """What one step trains on: pairs of one band each of Sentinel-2 and Sentinel-1, as their stores hold them.

    Attributes:
        px: side of a chip.
        recipe: what differs from the recipe of `rsbyol`, whose defaults are the paper's.
    """

    px: int = 64
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full(self) -> RsbyolRecipe:
        """The recipe."""
        return RsbyolRecipe.model_validate(dict(self.recipe))

    def batch(self) -> dict[str, dict[str, Tensor]]:
        """Integers as `Rsbyol.fetch` reads them, with new random numbers for the views."""
        rng, count = np.random.default_rng(0), self.full.batch_size
        shape = (count, self.px, self.px)
        optical = rng.integers(200, 6000, shape).astype(np.uint16)
        radar = rng.integers(-4500, -500, shape).astype(np.int16)
        samples = torch.zeros(count, dtype=torch.int64)
        return {
            "ms": {"dn": torch.from_numpy(optical), "samples": samples},
            "sar": {"dn": torch.from_numpy(radar), "samples": samples},
            "draws": {view: torch.from_numpy(rng.random((count, DRAWS))).float() for view in (FIRST, SECOND)},
        }


class Step(Stepper):
    """One BYOL in training.

    Args:
        device: where.
        bf16: whether forward passes run in bf16.
    """

    network: nn.Module
    encoder: nn.Module
    optimiser: torch.optim.Optimizer

    def __init__(self, device: torch.device, bf16: bool) -> None:
        self.device, self.bf16 = device, bf16

    @abstractmethod
    def loss(self) -> Tensor:
        """Views and loss of one batch."""

    @abstractmethod
    def follow(self) -> None:
        """Update the target network."""

    def step(self) -> float:
        """Augment, forward, loss, backward, SGD, moving average; returns the loss, which a training loop looks at."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.loss()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.follow()
        return float(loss.detach())


class Ours(Step):
    """As the training loop takes a step, from integers on."""

    def __init__(self, pairs: Pairs, device: torch.device, bf16: bool) -> None:
        super().__init__(device, bf16)
        recipe = pairs.full
        self.method = Rsbyol(recipe, _inputs(recipe), _layers(recipe), pairs.px)
        self.network = self.method.network.to(device).train()
        self.encoder, self.optimiser = self.method.towers[SHARED], self.method.optimiser()
        self.chips = {part: {k: t.to(device) for k, t in tensors.items()} for part, tensors in pairs.batch().items()}

    def loss(self) -> Tensor:
        """The method's own."""
        return self.method.loss(self.chips)

    def step(self) -> float:
        """With the gradient norm, which the loop records."""
        value = super().step()
        torch.nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
        return value

    def follow(self) -> None:
        """The method's own."""
        self.method.after_step()


class Lightly(Step):
    """Backbone of torchvision, heads, loss, target and views of lightly, put together as its example for BYOL does."""

    def __init__(self, pairs: Pairs, device: torch.device, bf16: bool) -> None:
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad
        from torchvision.models import resnet50

        super().__init__(device, bf16)
        recipe = pairs.full
        resnet = resnet50()
        resnet.conv1 = nn.Conv2d(recipe.channels, recipe.width, 7, 2, 3, bias=False)
        features = resnet.fc.in_features
        backbone = nn.Sequential(*list(resnet.children())[:-1])
        projector = BYOLProjectionHead(features, recipe.hidden, recipe.projection)
        predictor = BYOLPredictionHead(recipe.projection, recipe.hidden, recipe.projection)
        target = copy.deepcopy(nn.ModuleList([backbone, projector]))
        deactivate_requires_grad(target)
        self.network = nn.ModuleList([backbone, projector, predictor, target]).to(device).train()
        self.encoder = backbone
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(trained, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
        self.criterion, self.tau = NegativeCosineSimilarity(), recipe.tau
        self.views = _lightly_views(recipe, pairs.px)
        inputs, layers, chips = _inputs(recipe), _layers(recipe), pairs.batch()
        self.images = [
            inputs[kind].prepare(chips[kind]["dn"], chips[kind]["samples"], layers[inputs[kind].modality])
            for kind in ("ms", "sar")
        ]

    def loss(self) -> Tensor:
        """Views of every image, one after the other, and the symmetric loss."""
        one, two = (torch.stack([self.views(image)[0] for image in part]).to(self.device) for part in self.images)
        backbone, projector, predictor, target = self.network.children()
        p0, p1 = (predictor(projector(backbone(x).flatten(start_dim=1))) for x in (one, two))
        momentum_backbone, momentum_projector = target.children()
        with torch.no_grad():
            z0, z1 = (momentum_projector(momentum_backbone(x).flatten(start_dim=1)) for x in (one, two))
        total: Tensor = self.criterion(p0, z1) + self.criterion(p1, z0)
        return 2 * total  # 2 - 2 cos but for the constant

    def follow(self) -> None:
        """Lightly's own moving average."""
        from lightly.models.utils import update_momentum

        backbone, projector, _, target = self.network.children()
        for online, momentum in zip((backbone, projector), target.children(), strict=True):
            update_momentum(online, momentum, m=self.tau)


def _lightly_views(recipe: RsbyolRecipe, px: int) -> Callable[[Tensor], list[Tensor]]:
    """Lightly's transform of one view, of torchvision's transforms with our ranges."""
    from lightly.transforms.multi_view_transform import MultiViewTransform
    from torchvision import transforms as tv
    from torchvision.transforms import InterpolationMode

    reach = int(np.ceil(2 * recipe.blur_px[1]))
    blur = tv.GaussianBlur(2 * reach + 1, recipe.blur_px)
    crop = tv.RandomResizedCrop(px, recipe.crop_area, (1 / ASPECT, ASPECT), InterpolationMode.BICUBIC, antialias=False)
    erased = (1 / ERASED_ASPECT, ERASED_ASPECT)
    parts = [
        crop,
        tv.RandomHorizontalFlip(),
        tv.RandomVerticalFlip(),
        tv.RandomRotation(recipe.rotation_deg, InterpolationMode.BILINEAR),
        tv.RandomApply([blur], recipe.blur_share),
        tv.RandomErasing(recipe.erase_share, recipe.erase_area, erased),
    ]
    views: Callable[[Tensor], list[Tensor]] = MultiViewTransform([tv.Compose(parts)])
    return views


def _inputs(recipe: RsbyolRecipe) -> dict[str, TowerInput]:
    found = {}
    for name, tower in recipe.towers.items():
        unit, bands = MODALITIES[tower.modality].unit, tower.band_names
        low, span = ((end,) * len(bands) for end in RANGES[unit])
        found[name] = TowerInput(tower.modality, unit, bands, False, low, span, clip=(0.0, 1.0))
    return found


def _layers(recipe: RsbyolRecipe) -> dict[str, StoreLayer]:
    entries = [MODALITIES[tower.modality] for tower in recipe.towers.values()]
    return {
        e.name: StoreLayer(e.name, e.bands, e.unit, e.scale, e.offset, e.nodata, e.dtype, e.variable) for e in entries
    }


Build = Callable[[Pairs, torch.device, bool], Step]

ARMS: dict[str, Build] = {OURS: Ours, PEER: Lightly}


def check_alike(steps: Mapping[str, Step]) -> None:
    """All must train the same encoder.

    Raises:
        TerraprobeError: encoders differ in parameters.
    """
    sizes = {name: count(step.encoder) for name, step in steps.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{n:,} parameters ({name})" for name, n in sizes.items())
        raise TerraprobeError(
            f"encoders of {found}, allowed one size: times of other networks mean nothing beside each other. Mend the "
            "network (benchmarks/train/byol.py)."
        )


def measure_byol(pairs: Pairs, plan: Plan, device: torch.device, arms: Mapping[str, Build] = ARMS) -> list[Row]:
    """Train both in fp32 and in bf16, all four in turn.

    Args:
        pairs: what is trained on.
        plan: how much.
        device: where.
        arms: name to what builds it.
    """
    steps: dict[str, Step] = {}
    for precision in ("fp32", "bf16"):
        for arm, build in arms.items():
            torch.manual_seed(0)
            steps[f"{arm}, {precision}"] = build(pairs, device, precision == "bf16")
            steps[f"{arm}, {precision}"].seconds(plan.warm_steps)
    check_alike(steps)
    times = take_turns(steps, plan)
    return [Row(name, count(step.network), pairs.full.batch_size, tuple(times[name])) for name, step in steps.items()]


def byol_table(rows: list[Row], bf16_units: bool) -> str:
    """Markdown: a row an arm, with its time over lightly's in the same precision and in fp32, and the bars.

    Args:
        rows: of `measure_byol`.
        bf16_units: whether the processor has units for bf16, where a bar holds for it.
    """
    by = {row.arm: row for row in rows}
    lines = ["| step | ms | over lightly's in the same precision | over lightly's in fp32 |", "|---|---|---|---|"]
    for row in rows:
        peer = by[f"{PEER}, {row.arm.rpartition(' ')[2]}"]
        milliseconds = Spread.of(1e3 * seconds for seconds in row.rounds).text(",.1f")
        base = ratio(row, by[f"{PEER}, fp32"]).text(".3f")
        lines.append(f"| {row.arm} | {milliseconds} | {ratio(row, peer).text('.3f')} | {base} |")
    found = ratio(by[f"{OURS}, bf16"], by[f"{PEER}, fp32"])
    held = "yes" if found.median <= BAR_BF16 else "**no**"
    bar = f"{held}, wanted ≤ {BAR_BF16}" if bf16_units else "no bar: the processor has no avx512_bf16"
    return "\n".join([*lines, "", f"bf16 over lightly's example in fp32: {found.text('.3f')} ({bar})."])
