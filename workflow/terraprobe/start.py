"""Starting an encoder from the weights of another one, of the same shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from terraprobe.artifacts import read_json, sha256_file
from terraprobe.encoders import read_weights
from terraprobe.errors import TerraprobeError
from terraprobe.normalisation import TowerInput
from terraprobe.towers import DECODER


@dataclass(frozen=True)
class Start:
    """The encoder that training starts from.

    Attributes:
        name: of its folder.
        card: its `card.json`.
        tensors: weights of its towers.
        sha256: of the file that holds them.
    """

    name: str
    card: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sha256: str

    @classmethod
    def read(cls, card: Path, weights: Path) -> "Start":
        """Read an encoder's card and weights.

        Raises:
            TerraprobeError: a file is absent or broken, or the two are not of one encoder.
        """
        if card.parent != weights.parent:
            raise TerraprobeError(f"start: {card} and {weights} are of two encoders; give both of one.")
        tensors = {n: t for n, t in read_weights(weights).items() if not n.startswith(f"{DECODER}.")}
        return cls(card.parent.name, read_json(card), tensors, sha256_file(weights))

    def inputs(self, fitted: Mapping[str, TowerInput]) -> dict[str, TowerInput]:
        """What each tower takes, normalised as the weights are used to.

        Args:
            fitted: what it would take without a start. Where its context comes from stays as it is there.

        Raises:
            TerraprobeError: towers, bands or units differ.
        """
        found = {}
        for name, own in fitted.items():
            record = self.card["towers"].get(name)
            theirs = TowerInput.from_card(record) if record else None
            if theirs is None or _seen(theirs) != _seen(own):
                has = "; ".join(
                    f"{n}: {', '.join(t['bands'])} of {t['modality']}" for n, t in self.card["towers"].items()
                )
                raise TerraprobeError(
                    f"start: encoder {self.name} has {has}, but tower {name} takes {', '.join(own.bands)} of "
                    f"{own.modality}{' and context' if own.context else ''}. Start from an encoder with the same "
                    "tower and conditioning."
                )
            if theirs.context and own.context:
                sealed = replace(own.context, low=theirs.context.low, high=theirs.context.high)
                theirs = replace(theirs, context=sealed)
            found[name] = theirs
        return found

    def load_into(self, towers: nn.ModuleDict, alike: Sequence[str], fresh: Sequence[str]) -> None:
        """Set the weights of towers; what the start need not have, such as a head, keeps its own.

        Args:
            towers: to set.
            alike: keys of the recipe that make both fit, for errors.
            fresh: parts of a tower that the start need not have.

        Raises:
            TerraprobeError: a weight of the start has no place or another shape.
        """
        own = towers.state_dict()
        for name, tensor in self.tensors.items():
            if name not in own or own[name].shape != tensor.shape:
                wants = f"it is {tuple(own[name].shape)} here" if name in own else "there is none here"
                raise TerraprobeError(
                    f"start: encoder {self.name} does not have this encoder's shape: its {name} is "
                    f"{tuple(tensor.shape)}, {wants}. Give both the same {', '.join(alike)}."
                )
        without = [n for n in own if n not in self.tensors and n.split(".")[1] not in fresh]
        if without:
            raise TerraprobeError(
                f"start: encoder {self.name} does not have this encoder's shape: it has no {without[0]}. Give both the "
                f"same {', '.join(alike)}."
            )
        towers.load_state_dict(dict(self.tensors), strict=False)


def _seen(tower: TowerInput) -> tuple[Any, ...]:
    names = tower.context.names if tower.context else ()
    return tower.modality, tower.unit, tower.bands, tower.whole, tower.clip, names
