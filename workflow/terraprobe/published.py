"""Weights of a ResNet of bottlenecks from a file that the user supplies, in one of the layouts they are published in.

No code of a file runs: safetensors hold none, and of a pickle tensors alone are read.
"""

import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 6
"""Names of each kind in an error."""

COUNTER = "num_batches_tracked"
"""What files from before PyTorch 0.4.1 lack: how many batches a norm saw, which nothing here reads."""

NUMBERS = MappingProxyType({"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"})
"""Children of torchvision's ResNet by their place, as a `torch.nn.Sequential` of them names them (2 and 3: ReLU and
pooling, which have no weights)."""


@dataclass(frozen=True)
class Layout:
    """How a file names the weights of a ResNet.

    Attributes:
        title: what is published so.
        source: where that can be read.
        holder: key of the file's content that holds the weights; where there is none, they are the content itself.
        prefix: of their names.
        names: `torchvision`'s own, `numbered` children, or any, in torchvision's `order`.
    """

    title: str
    source: str
    holder: str = ""
    prefix: str = ""
    names: Literal["torchvision", "numbered", "order"] = "torchvision"


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "resnet50": Layout(
            "ImageNet: torchvision's and timm's ResNet50", "torchvision/models/resnet.py, timm/models/resnet.py"
        ),
        "deeplabv3_resnet50": Layout(
            "COCO: torchvision's DeepLabv3, of which the ResNet is taken",
            "torchvision/models/segmentation/_utils.py",
            prefix="backbone.",
        ),
        "byol": Layout(
            "ImageNet-BYOL: yaox12/BYOL-PyTorch",
            "utils/load_and_convert.py at edefc01, which takes them in this order",
            holder="online_backbone",
            names="order",
        ),
        "seco": Layout(
            "SeCo: ServiceNow/seasonal-contrast",
            "models/moco2_module.py at 411e37e",
            holder="state_dict",
            prefix="encoder_q.",
            names="numbered",
        ),
        "terraprobe": Layout("an encoder of this method", "encoder.safetensors", prefix="encoder."),
    }
)
"""Every layout by name."""


def load_published(path: Path, layout: str, network: "nn.Module", fresh: Collection[str] = ()) -> None:
    """Set the weights of a ResNet from a file; what else the file holds, such as a head, is left aside.

    Args:
        path: safetensors, or what `torch.save` wrote of tensors.
        layout: name of the table.
        network: whose weights are set.
        fresh: names of weights that stay as they are, whatever the file holds.

    Raises:
        TerraprobeError: the file is absent or broken, holds code, or is not in that layout.
    """
    own = network.state_dict()
    named = _named_alike(_read(path, LAYOUTS[layout]), LAYOUTS[layout], list(own))
    found = {name: tensor for name, tensor in named.items() if name not in fresh}
    own = {name: tensor for name, tensor in own.items() if name not in fresh}
    matched = {name: t for name, t in found.items() if name in own and t.shape == own[name].shape}
    absent = [name for name in own if name not in found and not name.endswith(COUNTER)]
    other = [
        f"{name} is {tuple(t.shape)}, here {tuple(own[name].shape)}"
        for name, t in found.items()
        if name in own and t.shape != own[name].shape
    ]
    if absent or other:
        raise TerraprobeError(
            f"{path}: not a ResNet of this shape in the layout {layout} ({LAYOUTS[layout].title}): {len(matched)} of "
            f"{len(own)} weights match ({_some(list(matched))}); not found: {_some(absent)}; of another shape: "
            f"{_some(other)}. Give the layout that the file is in ({', '.join(LAYOUTS)}), and in the recipe the views "
            "(three channels: rsbyol3), width and blocks that it was made with."
        )
    network.load_state_dict(matched, strict=False)


def _read(path: Path, layout: Layout) -> "dict[str, Tensor]":
    """Tensors of a file by their names there."""
    import torch

    content = _content(path)
    if layout.holder and isinstance(content.get(layout.holder), Mapping):
        content = content[layout.holder]
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _content(path: Path) -> Mapping[str, Any]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Any] = load_file(path)
            return tensors
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Download the weights and give their path.") from error
    except pickle.UnpicklingError as error:
        raise TerraprobeError(
            f"{path}: holds more than tensors, and to read it would run its code; nothing was read. Where you trust "
            "it, save its state dict alone, as safetensors or with torch.save, and give that file."
        ) from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise TerraprobeError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}). Give whole weights."
        ) from error
    if not isinstance(content, Mapping):
        raise TerraprobeError(f"{path}: holds a {type(content).__name__}, allowed a table of tensors by name.")
    return content


def _named_alike(tensors: "dict[str, Tensor]", layout: Layout, own: list[str]) -> "dict[str, Tensor]":
    """The tensors of the ResNet by torchvision's names."""
    if layout.names == "order":
        return dict(zip(own, tensors.values(), strict=False))
    inside = {n.removeprefix(layout.prefix): t for n, t in tensors.items() if n.startswith(layout.prefix)}
    if layout.names == "torchvision":
        return inside
    named = {}
    for name, tensor in inside.items():
        number, _, rest = name.partition(".")
        if number in NUMBERS:
            named[f"{NUMBERS[number]}.{rest}"] = tensor
    return named


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
