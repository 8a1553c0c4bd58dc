"""What a tower sees, as a recipe says it: a modality and a choice of its bands."""

import re

from terraprobe.modalities import MODALITIES
from terraprobe.stage import Recipe

MODULE_ATTRIBUTES = frozenset({
    "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "clear", "compile", "cpu", "cuda",
    "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "ipu", "items", "keys", "load_state_dict", "modules", "mtia",
    "named_buffers", "named_children", "named_modules", "named_parameters", "parameters", "pop",
    "register_backward_hook", "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook", "register_module", "register_parameter", "register_state_dict_post_hook",
    "register_state_dict_pre_hook", "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict",
    "to", "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad",
})  # fmt: skip
"""Names that a `torch.nn.ModuleDict` refuses as keys, written out: a recipe is checked without torch."""

DECODER = "decoder"
"""What an autoencoder's decoder is called beside its tower."""

SHARED = "encoder"
"""What the one module is called that all towers of a method go through where they share their weights."""

CONCAT = "concat"
"""What all towers together are called."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class TowerRecipe(Recipe):
    """What one tower sees.

    Attributes:
        modality: name of the modality table.
        bands: a choice of its bands by name; all of them where none is given.
    """

    modality: str
    bands: tuple[str, ...] | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """The bands it sees, all of the modality's where none is given."""
        return MODALITIES[self.modality].bands if self.bands is None else self.bands


def check_tower(name: str, tower: TowerRecipe, *, repeats: bool = False) -> None:
    """Refuse a tower that no method could build.

    Args:
        name: of the tower.
        tower: what it sees.
        repeats: whether it may see a band twice, as the VV-VH-VV of `rsbyol`.

    Raises:
        ValueError: its name is no name, or the modality table lacks its modality or one of its bands.
    """
    kept = {
        CONCAT: "the towers together",
        DECODER: "what turns embeddings back into images",
        SHARED: "one network behind several towers",
    }
    if name in kept:
        raise ValueError(f"towers: the name {name} is kept for {kept[name]}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"towers: found the name {name!r}, allowed a-z first, then a-z, 0-9 and _")
    if name in MODULE_ATTRIBUTES:
        raise ValueError(
            f"towers: found the name {name!r}, which is an attribute of PyTorch's modules; allowed is any other, such "
            f"as {name}_tower"
        )
    if tower.modality not in MODALITIES:
        raise ValueError(f"towers.{name}.modality: found {tower.modality!r}, allowed {', '.join(MODALITIES)}")
    allowed = MODALITIES[tower.modality].bands
    unknown = [band for band in tower.band_names if band not in allowed]
    if unknown or not tower.band_names:
        raise ValueError(f"towers.{name}.bands: found {list(tower.band_names)}, allowed {', '.join(allowed)}")
    if not repeats and len(set(tower.band_names)) < len(tower.band_names):
        raise ValueError(f"towers.{name}.bands: {list(tower.band_names)} names one twice")
