"""The networks that are compared: our three, and torchvision's ResNet18 given the same stem and shortcuts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from terraprobe.conditioning import context_names
from terraprobe.errors import TerraprobeError
from terraprobe.methods.bioclim_supervised import BioclimSupervised, BioclimSupervisedRecipe

TOWER = "s2"

CHECKED_IMAGES = 4
"""On which outputs are compared: the smallest batch whose batch norms say something."""


@dataclass(frozen=True)
class Work:
    """What one step trains on.

    Attributes:
        title: of the data set.
        bands: channels of an image.
        px: side of an image.
        parameters: of the plain network with its head.
        recipe: what differs from the recipe of `bioclim_supervised`, whose defaults are the paper's for EuroSAT.
    """

    title: str
    bands: int
    px: int
    parameters: int
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def conditioned(self, conditioning: str) -> BioclimSupervisedRecipe:
        """The recipe: `none`, `emb` or `cbn`."""
        return BioclimSupervisedRecipe.model_validate({**self.recipe, "conditioning": conditioning})

    def images(self, count: int) -> tuple[Tensor, Tensor]:
        """Random images in [0, 1], (count, bands, px, px), and context, (count, values)."""
        generator = torch.Generator().manual_seed(0)
        values = len(context_names("real"))
        images = torch.rand(count, self.bands, self.px, self.px, generator=generator)
        return images, torch.rand(count, values, generator=generator)


EUROSAT = Work("EuroSAT", 13, 64, 12_556_618)
"""[P] sec. 1 Data and Parameter counts."""

BIGEARTHNET = Work(
    "BigEarthNet",
    12,
    120,
    12_564_819,
    {"stem_px": 3, "batch_size": 512, "multi_label": True, "classes": [f"class_{k}" for k in range(19)]},
)
"""[P] sec. 1 Data, Optimiser and Parameter counts; [C] the stem."""


class Ours(nn.Module):
    """Encoder and head as `bioclim_supervised` builds them."""

    def __init__(self, work: Work, conditioning: str) -> None:
        super().__init__()
        towers = BioclimSupervised.build_towers(work.conditioned(conditioning), {TOWER: work.bands}, work.px)
        self.tower: Any = towers[TOWER]

    def forward(self, images: Tensor, context: Tensor) -> Tensor:
        """Logits (B, classes)."""
        logits: Tensor = self.tower.head(self.tower(images, context))
        return logits


class Torchvision(nn.Module):
    """torchvision's ResNet18 with our stem, no max-pool, 3x3 shortcuts, and a bias on every convolution."""

    def __init__(self, work: Work) -> None:
        from torchvision.models import resnet18
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        recipe = work.conditioned("none")
        self.network: Any = resnet18(num_classes=len(recipe.classes))
        self.network.conv1 = nn.Conv2d(work.bands, recipe.width, recipe.stem_px, stride=recipe.stem_px)
        self.network.maxpool = nn.Identity()
        for block in (module for module in self.network.modules() if isinstance(module, BasicBlock)):
            block.conv1, block.conv2 = _conv3(block.conv1), _conv3(block.conv2)
            if block.downsample is not None:
                block.downsample[0] = _conv3(block.downsample[0])

    def forward(self, images: Tensor, context: Tensor) -> Tensor:
        """Logits (B, classes)."""
        logits: Tensor = self.network(images)
        return logits


class TorchvisionChannelsLast(Torchvision):
    """The same, told to keep the channels of a pixel side by side, as ours does by itself."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.to(memory_format=torch.channels_last)


def _conv3(old: nn.Conv2d) -> nn.Conv2d:
    return nn.Conv2d(old.in_channels, old.out_channels, 3, old.stride[0], padding=1)


Arm = Callable[[Work], nn.Module]
"""Builds a network from images and context to logits."""

TRIO: dict[str, Arm] = {
    "plain": lambda work: Ours(work, "none"),
    "emb": lambda work: Ours(work, "emb"),
    "cbn": lambda work: Ours(work, "cbn"),
}

PEERS: dict[str, Arm] = {"torchvision": Torchvision, "torchvision, channels last": TorchvisionChannelsLast}


def count(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in network.parameters())


def check_equal(work: Work, peers: Mapping[str, Arm]) -> None:
    """Every peer must be the plain network: as many parameters, and with the same weights the same outputs.

    Args:
        work: what is trained on.
        peers: name to network.

    Raises:
        TerraprobeError: one differs, or the plain network has not the paper's number of parameters.
    """
    torch.manual_seed(0)
    plain = TRIO["plain"](work)
    images, context = work.images(CHECKED_IMAGES)
    with torch.no_grad():
        wanted = plain(images, context)
    for name, build in {"plain": TRIO["plain"], **peers}.items():
        peer = build(work)
        if count(peer) != work.parameters:
            raise TerraprobeError(
                f"{name}: {count(peer):,} parameters, allowed {work.parameters:,}: times of other networks mean "
                "nothing beside each other. Mend the network (benchmarks/train/arms.py)."
            )
        # The modules of a ResNet are registered in one order everywhere: stem, stages, head.
        peer.load_state_dict(dict(zip(peer.state_dict(), plain.state_dict().values(), strict=True)))
        peer.train()
        with torch.no_grad():
            found = peer(images, context)
        if not torch.allclose(found, wanted, rtol=1e-3, atol=1e-4):
            raise TerraprobeError(
                f"{name}: other outputs than plain for the same weights and images, by up to "
                f"{float((found - wanted).abs().max()):.2g}. Mend the network (benchmarks/train/arms.py)."
            )
