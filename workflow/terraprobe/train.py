"""Stage `pretrain-encoder`: train one encoder by its method, keep the best checkpoint and say what it is."""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError, model_validator

from terraprobe import ranks
from terraprobe.artifacts import digest, sha256_file, write_json, write_table
from terraprobe.checkpoints import StateFolder
from terraprobe.classlists import has_classes
from terraprobe.digest import code_digest
from terraprobe.encoders import count_parameters, write_weights
from terraprobe.errors import TerraprobeError
from terraprobe.loop import Trained, Trainer
from terraprobe.method import TrainRecipe, sourced
from terraprobe.methods import METHODS, load_method, recipe_model
from terraprobe.pool import ChipPool
from terraprobe.published import LAYOUTS, load_published
from terraprobe.restarts import restart_digests
from terraprobe.stage import Ins, Out, Recipe
from terraprobe.start import Start


class PretrainRecipe(Recipe):
    """What to pretrain.

    Attributes:
        method: name of the method table.
        collections: names, in the order in which their chips are given.
        seed: of initialisation, order and draws.
        recipe: what differs from the method's own recipe.
        label: chip-level classes that a supervised method learns; empty for any other.
        layout: of the published weights that training starts from; empty where it starts from none.
    """

    method: str
    collections: list[str]
    seed: int = 0
    label: str = ""
    layout: str = ""
    recipe: dict[str, Any] = {}

    @model_validator(mode="after")
    def _recipe_fits(self) -> "PretrainRecipe":
        if self.method not in METHODS:
            raise ValueError(f"method: found {self.method!r}, allowed {', '.join(METHODS)}")
        if self.layout and self.layout not in LAYOUTS:
            raise ValueError(f"layout: found {self.layout!r}, allowed {', '.join(LAYOUTS)}")
        try:
            _ = self.full
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
            raise ValueError(f"recipe of {self.method}: {'; '.join(wrong)}") from error
        return self

    @property
    def full(self) -> TrainRecipe:
        """The method's recipe with these differences."""
        return recipe_model(self.method).model_validate(self.recipe)


def pretrain_encoder(
    *, chips: Ins, stores: Ins, context: Ins, labels: Ins, start: Ins, recipe: PretrainRecipe, weights: Out, card: Out,
    history: Out,
) -> None:  # fmt: skip
    """Train an encoder on the train chips; keep the checkpoint that is best on validation chips.

    Best is the lowest validation loss, or of a supervised method the highest validation accuracy; a method whose
    validation loss says nothing about its embeddings keeps the last epoch.

    Args:
        chips: `chips.parquet` of each collection, in the recipe's order.
        stores: `spec.json` of every store that a tower reads.
        context: `context.parquet` of each collection where the recipe asks for conditioning; nothing elsewhere.
        labels: `labels.parquet` of each collection where the method is supervised; nothing elsewhere.
        start: `card.json` and `encoder.safetensors` of the encoder that training starts from, or the file of published
            weights whose layout the recipe names; nothing: fresh weights.
        recipe: method, seed and what differs from the method's recipe.
        weights: `encoder.safetensors`, the towers of the best checkpoint, and the decoder of an autoencoder.
        card: `card.json`: what they are and what they were made of.
        history: `history.parquet`, one row an epoch.

    Raises:
        TerraprobeError: a store, a table or the start does not fit, the loss is not a number, or a tower collapsed.
        SystemExit: with status 75 after SIGTERM, SIGUSR1 or SIGINT; the same command goes on. With status 0 in all
            processes of a training but the first, which alone writes.
    """
    settings = recipe.full
    if recipe.layout and len(start) != 1:
        raise TerraprobeError(f"start: found {len(start)} files, allowed one, of published weights in {recipe.layout}.")
    torch.set_num_threads(settings.cpu_threads)
    ranks.join()
    pool = ChipPool(chips, stores, context, labels, recipe.label)
    begun = Start.read(start[0], start[1]) if start and not recipe.layout else None
    pool.preload()
    method = build_method(recipe, settings, pool, begun)
    origin = {begun.name: begun.sha256} if begun else {}
    if recipe.layout:
        load_published(start[0], recipe.layout, method.residual, method.residual_fresh)
        method.after_start()
        origin = {start[0].name: sha256_file(start[0])}
    data = pool.content_digest()
    trainer = Trainer(method, pool, recipe.seed, StateFolder(_state_path(weights, recipe, settings, [data, origin])))
    left_out = sum(_left_out(trainer).values())
    ranks.tell(
        f"{recipe.method}: {len(trainer.train)} train and {len(trainer.val)} validation chips"
        + (f"; {left_out} more cannot be used" if left_out else "")
    )
    trained = trainer.run()
    if ranks.rank():
        sys.exit(0)
    write_weights(weights, trained.towers)
    write_table(history, _history_frame(trained))
    extra = {"start": origin, "restarts": restart_digests(trainer.folder.path, settings.restarts)}
    write_json(card, _card(recipe, settings, trainer, trained, data) | {k: v for k, v in extra.items() if v})
    write_json(card.with_name("cost.json"), _cost(trainer, trained))


def build_method(recipe: PretrainRecipe, settings: Any, pool: ChipPool, start: Start | None = None) -> Any:
    """Networks and loss as training begins with them, fresh or from the weights of another encoder."""
    train = (pool.split == "train").nonzero()[0]
    method = load_method(recipe.method)
    inputs = method.fit_inputs(settings, pool, train, recipe.seed)
    if start is not None:
        inputs = start.inputs(inputs)
    torch.manual_seed(recipe.seed)
    built = method(settings, inputs, pool.layers, pool.chip_px)
    if start is not None:
        start.load_into(built.towers, method.start_shape, method.fresh)
    return built


def _left_out(trainer: Trainer) -> dict[str, int]:
    """Chips of each split that the loss cannot use."""
    used = {"train": len(trainer.train), "val": len(trainer.val)}
    return {split: int((trainer.pool.split == split).sum()) - count for split, count in used.items()}


def _state_path(weights: Path, recipe: PretrainRecipe, settings: TrainRecipe, read: list[dict[str, Any]]) -> Path:
    """Beside the output, which Snakemake removes when a job fails; keyed by all that the result depends on."""
    code = code_digest("terraprobe.train", METHODS[recipe.method])
    own = [recipe.method, recipe.collections, recipe.seed, recipe.label, settings.model_dump(mode="json")]
    key = digest([*own, *read, code])
    return weights.with_name(f"state-{key[:12]}")


def _history_frame(trained: Trained) -> Any:
    import pandas as pd

    return pd.DataFrame(trained.history)


def _card(
    recipe: PretrainRecipe, settings: TrainRecipe, trainer: Trainer, trained: Trained, data: dict[str, Any]
) -> dict[str, Any]:
    method = trainer.method
    return {
        "method": recipe.method,
        "seed": recipe.seed,
        "collections": recipe.collections,
        "recipe": settings.model_dump(mode="json"),
        "recipe_sources": {k: {"mark": v["mark"], "source": v["source"]} for k, v in sourced(settings).items()},
        "chip_px": method.chip_px,
        "towers": {name: tower.to_card() for name, tower in method.inputs.items()},
        "parameters": count_parameters(method.towers),
        "data": data,
        "chips": {"train": len(trainer.train), "val": len(trainer.val)},
        "chips_left_out": _left_out(trainer),
        "batch": {"train": trainer.batch_size, "val": min(settings.batch_size, len(trainer.val))},
        "best_epoch": trained.best_epoch,
        "best_val_loss": trained.history[trained.best_epoch - 1]["val_loss"],
        **(_learnt(recipe, trainer, trained) if method.supervised else {}),
        "versions": {"python": platform.python_version(), **{n: version(n) for n in ("numpy", "terraprobe", "torch")}},
    }


def _learnt(recipe: PretrainRecipe, trainer: Trainer, trained: Trained) -> dict[str, Any]:
    """What a supervised encoder learnt, and the chips that lacked it."""
    pool, classes = trainer.pool, trainer.recipe.classes
    known = has_classes(pool.classes, classes, trainer.recipe.multi_label)
    return {
        "label": recipe.label,
        "classes": list(classes),
        "chips_without_class": {split: int(((pool.split == split) & ~known).sum()) for split in ("train", "val")},
        "best_val_accuracy": trained.history[trained.best_epoch - 1]["val_accuracy"],
        "epochs_run": len(trained.history),
    }


def _cost(trainer: Trainer, trained: Trained) -> dict[str, Any]:
    """Apart from the card: it differs between equal runs."""
    device = trainer.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "precision": "bf16" if trainer.bf16 else "fp32",
        "threads": torch.get_num_threads(),
        "seconds": round(trained.seconds, 1),
        "seconds_per_step": round(trained.seconds / max(trainer.step, 1), 4),
    }
