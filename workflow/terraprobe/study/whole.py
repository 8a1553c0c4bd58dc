"""A whole study, and what its entries say about each other."""

from typing import Any, Literal

from pydantic import Field, model_validator

from terraprobe.modalities import MODALITIES
from terraprobe.stage import Recipe
from terraprobe.study.collections import AnyCollection, Collection
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.evaluations import Evaluation
from terraprobe.study.names import Name, check_names


class Study(Recipe):
    """A whole study.

    Attributes:
        study: its name: results land in `results/<study>/`.
        title: for the report.
        embedding_channels: `mean` over the valid channels, or `random`: one of them, as the paper of clip3 does.
        random_inits: how many untrained twins of each encoder stand beside it as a floor.
        tsne_chips: at most so many chips in a t-SNE picture.
        collections: where the chips come from.
        encoders: what is pretrained.
        evaluations: what is measured.
    """

    study: Name
    title: str = ""
    embedding_channels: Literal["mean", "random"] = "mean"
    random_inits: int = Field(3, ge=0)
    tsne_chips: int = Field(2000, ge=10)
    collections: list[AnyCollection] = Field(min_length=1)
    encoders: list[EncoderEntry] = Field(min_length=1)
    evaluations: list[Evaluation] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_once(self) -> "Study":
        for key in ("collections", "encoders", "evaluations"):
            names = [entry.name for entry in getattr(self, key)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{key}: name {twice[0]!r} is given twice; names are folders, so each must be its own")
        return self

    @model_validator(mode="after")
    def _names_known(self) -> "Study":
        for encoder in self.encoders:
            where = f"encoders[{encoder.name}].collections"
            check_names(encoder.collections, [c.name for c in self.collections], where)
            self._check_towers(encoder)
        for evaluation in self.evaluations:
            where = f"evaluations[{evaluation.name}]"
            check_names([evaluation.collection], [c.name for c in self.collections], f"{where}.collection")
            collection = self.collection(evaluation.collection)
            values = [value for layer in collection.label_layers for value in layer.values]
            check_names(evaluation.tasks, values, f"{where}.tasks", f"labels of {collection.name}")
            if evaluation.encoders != "all":
                able = [e.name for e in self.encoders if self.can_embed(e, collection)]
                check_names(evaluation.encoders, able, f"{where}.encoders", f"can embed {collection.name}")
        return self

    def _check_towers(self, encoder: EncoderEntry) -> None:
        collections = [self.collection(name) for name in encoder.collections]
        sides = sorted({c.chip_px for c in collections})
        if len(sides) > 1:
            raise ValueError(f"encoders[{encoder.name}].collections: chips of {sides} px; all must be of one size")
        held = {modality for c in collections for modality in c.modalities}
        for tower, spec in encoder.full_recipe.towers.items():
            where = f"encoders[{encoder.name}].recipe.towers[{tower}]"
            check_names([spec.modality], held, f"{where}.modality", f"in {', '.join(encoder.collections)}")
            check_names(spec.bands or [], MODALITIES[spec.modality].bands, f"{where}.bands", f"of {spec.modality}")
            if sides[0] % encoder.full_recipe.patch_px:
                raise ValueError(
                    f"{where}: patch_px {encoder.full_recipe.patch_px} does not divide chips of {sides[0]} px"
                )

    def collection(self, name: str) -> AnyCollection:
        """The collection of that name."""
        return next(c for c in self.collections if c.name == name)

    def encoder(self, name: str) -> EncoderEntry:
        """The encoder of that name."""
        return next(e for e in self.encoders if e.name == name)

    def evaluation(self, name: str) -> Evaluation:
        """The evaluation of that name."""
        return next(e for e in self.evaluations if e.name == name)

    def can_embed(self, encoder: EncoderEntry, collection: Collection) -> bool:
        """Whether the collection has the modality of at least one of the encoder's towers, at the same chip size."""
        size = self.collection(encoder.collections[0]).chip_px
        towers = encoder.full_recipe.towers.values()
        return collection.chip_px == size and any(t.modality in collection.modalities for t in towers)

    def encoders_of(self, collection: str) -> list[str]:
        """Names of the encoders that can embed a collection, in study order."""
        return [e.name for e in self.encoders if self.can_embed(e, self.collection(collection))]

    def modalities_read(self, encoders: list[str], collection: str) -> list[str]:
        """Modalities of a collection that a tower of these encoders sees."""
        seen = {t.modality for e in encoders for t in self.encoder(e).full_recipe.towers.values()}
        return [name for name in self.collection(collection).modalities if name in seen]

    def pretrain_recipe(self, name: str) -> dict[str, Any]:
        """What `pretrain_encoder` needs to know of an encoder."""
        return self.encoder(name).model_dump(mode="json", exclude={"name"})

    def judged(self, evaluation: Evaluation) -> list[str]:
        """Names of the encoders that an evaluation compares."""
        named = evaluation.encoders
        return self.encoders_of(evaluation.collection) if named == "all" else named
