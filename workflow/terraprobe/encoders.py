"""Encoders on disk: weights, and the card without which they cannot be used."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terraprobe.artifacts import digest, read_json, sha256_file, write_bytes
from terraprobe.chips.store import ChipStore
from terraprobe.errors import TerraprobeError
from terraprobe.methods import load_method, recipe_model
from terraprobe.models.gradcam import grad_cam
from terraprobe.normalisation import TowerInput
from terraprobe.towers import DECODER, SHARED

WEIGHTS = "encoder.safetensors"
CARD = "card.json"


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write weights as safetensors, with equal bytes for equal weights.

    Args:
        path: where to.
        tensors: state of the towers, and of a decoder beside them.

    Raises:
        TerraprobeError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    # One key: the order of several is not stable.
    metadata = {"terraprobe": json.dumps({"format": 1}, sort_keys=True)}
    write_bytes(path, save({name: t.contiguous() for name, t in tensors.items()}, metadata))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights.

    Raises:
        TerraprobeError: the file is absent or broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except SafetensorError as error:
        raise TerraprobeError(
            f"{path}: not the weights that {path.with_name(CARD)} describes ({error}). Delete both and run again."
        ) from error
    return tensors


def count_parameters(*parts_of_towers: nn.ModuleDict) -> dict[str, Any]:
    """Parameters of each part of each tower, and of all together; the parts of a tower may come from several."""
    parts: dict[str, dict[str, int]] = {}
    for towers in parts_of_towers:
        for name, tower in towers.items():
            counts = {part: sum(p.numel() for p in module.parameters()) for part, module in tower.named_children()}
            parts.setdefault(name, {}).update(counts)
    return {"towers": parts, "total": sum(sum(tower.values()) for tower in parts.values())}


class Encoder:
    """Towers with their normalisation sealed in.

    Attributes:
        name: of its folder, for errors.
        card: what it is.
        inputs: tower to what it takes.
        digest: of weights or, for an untrained one, of card and seed.
    """

    def __init__(self, name: str, card: Mapping[str, Any], towers: nn.ModuleDict, identity: str) -> None:
        self.name = name
        self.card = card
        self.digest = identity
        self.inputs = {tower: TowerInput.from_card(record) for tower, record in card["towers"].items()}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._modules = towers.to(self.device).eval()

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """Read an encoder.

        Raises:
            TerraprobeError: weights or card are absent, broken, or do not belong together.
        """
        card = read_json(folder / CARD)
        path = folder / WEIGHTS
        with torch.device("meta"):
            towers = _build_towers(card)
        tensors = read_weights(path)
        try:
            towers.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise TerraprobeError(
                f"{path}: not the weights that {folder / CARD} describes ({reason}). Delete both and run again."
            ) from error
        return cls(folder.name, card, towers, sha256_file(path))

    @classmethod
    def random_init(cls, card: Mapping[str, Any], seed: int, name: str = "random") -> "Encoder":
        """An untrained twin: same architecture and normalisation, fresh weights.

        Args:
            card: of the trained encoder.
            seed: of the weights.
            name: for errors.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            towers = _build_towers(card)
        return cls(name, card, towers, digest([card["towers"], card["recipe"], card["chip_px"], seed]))

    def module(self, tower: str) -> nn.Module:
        """The network that a tower's samples go through, on the encoder's device, in evaluation mode."""
        return self._modules[SHARED if load_method(self.card["method"]).shared else tower]

    @property
    def joint(self) -> bool:
        """Whether its towers enter one network together, so that any of them can be left out."""
        return load_method(self.card["method"]).joint

    def fitting_towers(self, modalities: set[str]) -> list[str]:
        """Towers whose modality is among those given, in the card's order."""
        return [name for name, tower in self.inputs.items() if tower.modality in modalities]

    def columns(self, tower: str, store: ChipStore) -> NDArray[np.intp]:
        """Channels of a store that a tower reads, in the tower's order.

        Raises:
            TerraprobeError: unit, bands or chip size are not those that the encoder was made for.
        """
        where = f"encoder {self.name}, tower {tower}, store {store.folder}"
        if store.chip_px != self.card["chip_px"] and not load_method(self.card["method"]).any_size:
            raise TerraprobeError(
                f"{where}: made for chips of {self.card['chip_px']} px, but the store has {store.chip_px} px. Give "
                "both collections the same chip_px."
            )
        return self.inputs[tower].columns(store.layer, store.channels, where)

    def prepare(
        self,
        tower: str,
        store: ChipStore,
        chips: NDArray[np.intp],
        samples: NDArray[np.intp],
        context: NDArray[np.float64] | None = None,
    ) -> tuple[Tensor, ...]:
        """Read and normalise one sample a row.

        Args:
            tower: which one.
            store: the chips.
            chips: rows of the store, (B,).
            samples: columns of what `TowerInput.samples` gives, (B,): bands, or 0 where a tower takes whole chips.
            context: what `ContextScale.enter` gives for the store, (chip, values); read by a tower that takes context.

        Returns:
            What the tower takes, on the encoder's device: images (B, 1 or bands, chip_px, chip_px) and, where it takes
            it, scaled context (B, 20). Of a joint encoder images have the channels of all towers, as `joint_images`
            gives them for this tower alone.

        Raises:
            TerraprobeError: unit, bands or chip size are not those that the encoder was made for, or the tower takes
                context and none is given.
        """
        wanted = self.inputs[tower]
        dn = wanted.read(store.digital, self.columns(tower, store), chips, samples)
        tensors = [torch.from_numpy(array).to(self.device) for array in (dn, samples)]
        images = wanted.prepare(tensors[0], tensors[1], store.layer)
        if self.joint:
            images = self._among_all(tower, images)
        if wanted.context is None:
            return (images,)
        if context is None:
            raise TerraprobeError(
                f"encoder {self.name}, tower {tower}: takes context ({', '.join(wanted.context.names)}), but "
                f"{store.folder.parent.parent} has none here. Give its context.parquet."
            )
        return images, torch.from_numpy(wanted.context.scale(context[chips])).to(self.device)

    def joint_images(
        self, stores: Mapping[str, ChipStore], chips: NDArray[np.intp], towers: Sequence[str] | None = None
    ) -> Tensor:
        """Read and normalise chips for the towers of a joint encoder together; its network takes them as they are.

        Args:
            stores: modality to the chips.
            chips: rows of the stores, (B,).
            towers: names of those that are given; all whose modality is among the stores where none is named.

        Returns:
            (B, bands of all towers in the card's order, chip_px, chip_px), on the encoder's device; the channels of
            towers that are not given are exactly zero. `module` of any tower is the network that takes them.

        Raises:
            TerraprobeError: unit, bands or chip size are not those that the encoder was made for.
        """
        given = self.fitting_towers(set(stores)) if towers is None else towers
        whole = np.zeros_like(chips)
        parts = [self.prepare(name, stores[self.inputs[name].modality], chips, whole)[0] for name in given]
        return torch.stack(parts).sum(dim=0)

    def _among_all(self, tower: str, images: Tensor) -> Tensor:
        """Images (B, bands, y, x) of one tower at their place among the channels of all, which are zero elsewhere."""
        counts = {name: len(wanted.bands) for name, wanted in self.inputs.items()}
        names = list(counts)
        before = sum(counts[name] for name in names[: names.index(tower)])
        placed = images.new_zeros(len(images), sum(counts.values()), *images.shape[2:])
        placed[:, before : before + counts[tower]] = images
        return placed

    def forward(self, tower: str, inputs: tuple[Tensor, ...]) -> Tensor:
        """Embed what `prepare` gave: (B, D) float32, the tower's output."""
        with torch.inference_mode():
            embedded: Tensor = self.module(tower)(*inputs).float()
        return embedded

    def pixels(self, tower: str, inputs: tuple[Tensor, ...]) -> Tensor:
        """Features of a tower before they are pooled, for what `prepare` gave: (B, C, h, w) float32.

        Raises:
            TerraprobeError: the tower has none.
        """
        module = self.module(tower)
        if not hasattr(module, "pixels"):
            raise TerraprobeError(
                f"encoder {self.name}, tower {tower}: {self.card['method']} has no features for each pixel. Take it "
                "out of the evaluation."
            )
        # Not inference mode: a head is trained on what comes out.
        with torch.no_grad():
            features: Tensor = module.pixels(*inputs).float()  # type: ignore[operator]
        return features

    def classify(self, tower: str, inputs: tuple[Tensor, ...]) -> Tensor:
        """Probabilities of the card's classes, (B, classes) float32, each by itself where a chip may have several."""
        module = self.module(tower)
        with torch.inference_mode():
            logits: Tensor = module.head(module(*inputs)).float()  # type: ignore[operator]
            return logits.sigmoid() if self.card["recipe"]["multi_label"] else logits.softmax(dim=1)

    def reconstruct(self, tower: str, inputs: tuple[Tensor, ...]) -> Tensor:
        """Images that an autoencoder gives back for what `prepare` gave, (B, bands, chip_px, chip_px) float32."""
        with torch.inference_mode():
            again: Tensor = self._modules[DECODER](self.module(tower)(*inputs), *inputs[1:]).float()
        return again

    def grad_cam(self, tower: str, inputs: tuple[Tensor, ...], classes: Tensor) -> Tensor:
        """Where in a chip a class is seen, (B, h, w) float32, by the last features before they are pooled.

        Args:
            tower: of a supervised encoder.
            inputs: what `prepare` gave.
            classes: number of one of the card's classes for each chip, (B,).
        """
        module = self.module(tower)
        last: nn.Module = module.stages[-1][-1]  # type: ignore[index,assignment]
        return grad_cam(lambda: module.head(module(*inputs)), last, classes)  # type: ignore[operator]

    def embed(
        self,
        tower: str,
        store: ChipStore,
        chips: NDArray[np.intp],
        samples: NDArray[np.intp],
        context: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Embed one sample a row: (B, D). See `prepare` for arguments and errors."""
        inputs = self.prepare(tower, store, chips, samples, context)
        values: NDArray[np.float32] = self.forward(tower, inputs).cpu().numpy()
        return values


def with_twins(encoder: Encoder, random_inits: int, seed: int = 0) -> dict[str, Encoder]:
    """An encoder and its untrained twins, by init: `trained`, `random-0` and so on.

    Args:
        encoder: the trained one.
        random_inits: how many twins.
        seed: equal seeds give equal twins.
    """
    family = {"trained": encoder}
    for number in range(random_inits):
        own = int(np.random.SeedSequence([seed, encoder.card["seed"], number + 1]).generate_state(1)[0])
        family[f"random-{number}"] = Encoder.random_init(encoder.card, own, encoder.name)
    return family


def _build_towers(card: Mapping[str, Any]) -> nn.ModuleDict:
    """Towers, and the decoder of an autoencoder beside them."""
    method, recipe = load_method(card["method"]), recipe_model(card["method"]).model_validate(card["recipe"])
    bands = {name: len(record["bands"]) for name, record in card["towers"].items()}
    towers = method.build_towers(recipe, bands, card["chip_px"])
    if method.autoencoder:
        towers[DECODER] = method.build_decoder(recipe, bands, card["chip_px"])
    return towers
