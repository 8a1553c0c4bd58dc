"""A whole study, and what its entries say about each other."""

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from terraprobe.methods import load_method
from terraprobe.modalities import MODALITIES
from terraprobe.stage import Recipe
from terraprobe.study.budgets import check_budgets, check_reference
from terraprobe.study.collections import Collection
from terraprobe.study.each import spread_entries
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.evaluations import AnyEvaluation, Classification, Evaluation, Pool, Reconstruction
from terraprobe.study.labelled import (
    able_classifiers,
    check_classification,
    check_pool,
    check_reconstruction,
    check_start,
    check_supervised,
    check_tasks,
    classes_of,
    several,
)
from terraprobe.study.names import Name, check_names
from terraprobe.study.own import AnyCollection
from terraprobe.study.probed import check_mlp_probe
from terraprobe.study.probing import MlpProbe
from terraprobe.study.segmentations import Segmentation, check_segmentation, comparison_recipe, probe_recipe


class Study(Recipe):
    """A whole study.

    Attributes:
        study: its name: results land in `results/<study>/`.
        title: for the report.
        embedding_channels: `mean` over the valid channels, or `random`: one of them, as the paper of clip3 does.
        random_inits: how many untrained twins of each encoder stand beside it as a floor.
        tsne_chips: at most so many chips in a t-SNE picture.
        papers: whose published numbers and claims the report sets beside this study's: bioclim, clip3, rsbyol, sscl.
        collections: where the chips come from.
        encoders: what is pretrained.
        evaluations: what is measured.
        pools: evaluations whose comparisons are also made as one.
        left_out: what a list of studies lacks here and why, by study; terraprobe writes it where it puts them together.
    """

    study: Name
    title: str = ""
    embedding_channels: Literal["mean", "random"] = "mean"
    random_inits: int = Field(3, ge=0)
    tsne_chips: int = Field(2000, ge=10)
    papers: list[Literal["bioclim", "clip3", "rsbyol", "sscl"]] = []
    collections: list[AnyCollection]
    encoders: list[EncoderEntry]
    evaluations: list[AnyEvaluation]
    pools: list[Pool] = []
    left_out: dict[str, list[str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _each(cls, content: Any) -> Any:
        return spread_entries(content)

    @model_validator(mode="after")
    def _holds_something(self) -> "Study":
        for key in ("collections", "encoders", "evaluations"):
            if not getattr(self, key) and not self.left_out:  # of a list of studies it may be that none can run here
                raise ValueError(f"{key}: found [], allowed: at least 1 item")
        return self

    @model_validator(mode="after")
    def _names_once(self) -> "Study":
        for key in ("collections", "encoders", "evaluations", "pools"):
            entries = self.members if key == "encoders" else getattr(self, key)
            names = [entry.name for entry in entries]
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
            if encoder.supervised:
                check_supervised(self, encoder)
            if encoder.start:
                check_start(self, encoder)
        for evaluation in self.evaluations:
            where = f"evaluations[{evaluation.name}]"
            check_names([evaluation.collection], [c.name for c in self.collections], f"{where}.collection")
            if isinstance(evaluation, Classification):
                check_classification(self, evaluation)
                continue
            if isinstance(evaluation, Reconstruction):
                check_reconstruction(self, evaluation)
                continue
            if isinstance(evaluation, Segmentation):
                check_segmentation(self, evaluation)
                continue
            if isinstance(evaluation, MlpProbe):
                check_mlp_probe(self, evaluation)
                continue
            collection = self.collection(evaluation.collection)
            check_tasks(evaluation, collection)
            self._check_train_on(evaluation)
            if evaluation.encoders != "all":
                able, names = [e.name for e in self._able(evaluation)], ", ".join(evaluation.collections)
                labelled = any(e.supervised for e in self.encoders)
                why = f"can embed {names}{', learnt without labels' if labelled else ''}"
                check_names(evaluation.encoders, able, f"{where}.encoders", why)
            check_reference(self, evaluation)
            check_budgets(self, evaluation)
        for pool in self.pools:
            check_pool(self, pool)
        return self

    def _check_train_on(self, evaluation: Evaluation) -> None:
        where, judged = f"evaluations[{evaluation.name}]", self.collection(evaluation.collection)
        check_names(evaluation.train_on, [c.name for c in self.collections], f"{where}.train_on")
        for name in evaluation.train_on:
            other = self.collection(name)
            check_tasks(evaluation, other, ", in train_on")
            if (set(other.modalities), other.chip_px) != (set(judged.modalities), judged.chip_px):
                raise ValueError(
                    f"{where}.train_on: {name} has {_seen(other)} and {judged.name} has {_seen(judged)}; one forest "
                    "judges the features of both, so they must be alike"
                )

    def _check_towers(self, encoder: EncoderEntry) -> None:
        collections = [self.collection(name) for name in encoder.collections]
        sides = sorted({c.chip_px for c in collections})
        if len(sides) > 1:
            raise ValueError(f"encoders[{encoder.name}].collections: chips of {sides} px; all must be of one size")
        held = {modality for c in collections for modality in c.modalities}
        for tower, spec in encoder.full_recipe.towers.items():
            where = f"encoders[{encoder.name}].recipe.towers[{tower}]"
            if encoder.full_recipe.learns(spec):
                check_names([spec.modality], held, f"{where}.modality", f"in {', '.join(encoder.collections)}")
            check_names(
                dict.fromkeys(spec.bands or ()),
                MODALITIES[spec.modality].bands,
                f"{where}.bands",
                f"of {spec.modality}",
            )
        try:
            encoder.full_recipe.check_chip(sides[0])
        except ValueError as error:
            raise ValueError(f"encoders[{encoder.name}].recipe: {error}") from error
        bare = [c.name for c in collections if c.has_context and not c.has_elevation]
        if encoder.takes_context and bare and encoder.full_recipe.elevation:
            raise ValueError(
                f"encoders[{encoder.name}].recipe.elevation: found True, allowed False (19 values of context): "
                f"{', '.join(bare)} has no elevation"
            )
        without = [c.name for c in collections if not c.has_context]
        if encoder.takes_context and without:
            raise ValueError(
                f"encoders[{encoder.name}].recipe.conditioning: found {encoder.full_recipe.conditioning!r}, allowed "
                f"none, or other collections: {', '.join(without)} has no context"
            )

    def collection(self, name: str) -> AnyCollection:
        """The collection of that name."""
        return next(c for c in self.collections if c.name == name)

    def encoder(self, name: str) -> EncoderEntry:
        """The encoder of that name, of a single seed."""
        return next(e for e in self.members if e.name == name)

    def evaluation(self, name: str) -> Evaluation:
        """The evaluation by forests of that name."""
        return next(e for e in self.forests if e.name == name)

    def classification(self, name: str) -> Classification:
        """The evaluation by the encoders' own heads of that name."""
        return next(e for e in self.classifications if e.name == name)

    def reconstruction(self, name: str) -> Reconstruction:
        """The evaluation of autoencoders of that name."""
        return next(e for e in self.reconstructions if e.name == name)

    def mlp_probe(self, name: str) -> MlpProbe:
        """The evaluation by MLPs of that name."""
        return next(e for e in self.mlp_probes if e.name == name)

    @property
    def forests(self) -> list[Evaluation]:
        """Evaluations by forests, in study order."""
        return [e for e in self.evaluations if isinstance(e, Evaluation)]

    @property
    def classifications(self) -> list[Classification]:
        """Evaluations by the encoders' own heads, in study order."""
        return [e for e in self.evaluations if isinstance(e, Classification)]

    @property
    def reconstructions(self) -> list[Reconstruction]:
        """Evaluations of autoencoders, in study order."""
        return [e for e in self.evaluations if isinstance(e, Reconstruction)]

    def segmentation(self, name: str) -> Segmentation:
        """The evaluation of pixels of that name."""
        return next(e for e in self.segmentations if e.name == name)

    @property
    def segmentations(self) -> list[Segmentation]:
        """Evaluations of pixels, in study order."""
        return [e for e in self.evaluations if isinstance(e, Segmentation)]

    def segmentation_recipe(self, name: str) -> dict[str, Any]:
        """What the stages that fit heads for pixels need to know of an evaluation."""
        return probe_recipe(self, self.segmentation(name))

    def segmentation_scores_recipe(self, name: str) -> dict[str, Any]:
        """What `score_segmentation` needs to know of an evaluation."""
        return comparison_recipe(self, self.segmentation(name))

    @property
    def mlp_probes(self) -> list[MlpProbe]:
        """Evaluations by MLPs on single views, in study order."""
        return [e for e in self.evaluations if isinstance(e, MlpProbe)]

    def can_embed(self, encoder: EncoderEntry, collection: Collection) -> bool:
        """Whether it has chips of a size for it, a tower's modality, and context where the encoder takes it."""
        if encoder.group != collection.group:
            return False
        towers = encoder.full_recipe.towers.values()
        sees = self._fits(encoder, collection) and any(t.modality in collection.modalities for t in towers)
        if not encoder.takes_context:
            return sees
        return sees and collection.has_context and (collection.has_elevation or not encoder.full_recipe.elevation)

    def _fits(self, encoder: EncoderEntry, collection: Collection) -> bool:
        """Whether chips are of the encoder's size, or of another that its method can take."""
        if collection.chip_px == self.collection(encoder.collections[0]).chip_px:
            return True
        try:
            encoder.full_recipe.check_chip(collection.chip_px)
        except ValueError:
            return False
        return load_method(encoder.method).any_size

    @cached_property
    def members(self) -> list[EncoderEntry]:
        """Every encoder to pretrain, one a seed, in study order."""
        return [member for encoder in self.encoders for member in encoder.members]

    def encoders_of(self, collection: str) -> list[str]:
        """Names of the encoders that see a collection, in study order: all that can.

        Where evaluations read the collection, only those that they compare and the ones that were trained on it.
        """
        able = [e for e in self.encoders if self.can_embed(e, self.collection(collection))]
        reading = [e for e in self.evaluations if collection in e.collections]
        if reading:
            wanted = {e.name for evaluation in reading for e in self._compared(evaluation)}
            able = [e for e in able if e.name in wanted or collection in e.collections]
        return [member.name for encoder in able for member in encoder.members]

    def drawn_of(self, collection: str) -> list[str]:
        """Names of the encoders whose embeddings of a collection are drawn: of several seeds the first.

        Of the collections that only a pool of heads, MLPs or pixels reads, those of its first alone.
        """
        reading = [e for e in self.evaluations if collection in e.collections]
        if reading and all(e.name in self._later and not isinstance(e, Evaluation) for e in reading):
            return []
        first = {e.members[0].name for e in self.encoders}
        return [name for name in self.encoders_of(collection) if name in first]

    def embedding_of(self, collection: str) -> list[str]:
        """Names of the encoders that embed a collection, in study order: those that are judged by it, or drawn."""
        read = [e for e in self.evaluations if isinstance(e, Evaluation | Reconstruction)]
        judging = [e for e in read if collection in e.collections]
        wanted = {*self.drawn_of(collection), *(name for e in judging for name in self.judged(e))}
        return [name for name in self.encoders_of(collection) if name in wanted]

    def leakage_recipe(self, name: str) -> dict[str, Any]:
        """What `audit_leakage` needs to know of a collection."""
        encoders = {encoder: self.seen_by(encoder) for encoder in self.encoders_of(name)}
        limit = self.collection(name).leakage_limit.model_dump(mode="json")
        return {"collection": name, "encoders": encoders, "limit": limit}

    def modalities_read(self, encoders: list[str], collection: str) -> list[str]:
        """Modalities of a collection that a tower of these encoders sees."""
        seen = {t.modality for e in encoders for t in self.encoder(e).full_recipe.towers.values()}
        return [name for name in self.collection(collection).modalities if name in seen]

    def pretrain_recipe(self, name: str) -> dict[str, Any]:
        """What `pretrain_encoder` needs to know of an encoder."""
        encoder = self.encoder(name)
        content = encoder.model_dump(
            mode="json", exclude={"name", "arm", "seeds", "start", "weights", "group", "budgets"}
        )
        if encoder.weights is not None:
            content["layout"] = encoder.weights.layout
        if encoder.supervised:
            collection = self.collection(encoder.collections[0])
            filled = {"classes": classes_of(collection, encoder.label), **content["recipe"]}
            content["recipe"] = {**filled, "multi_label": several(collection, encoder.label)}
        return content

    def start_of(self, name: str) -> str:
        """The encoder, of a single seed, whose weights one of a single seed starts from; empty where it has none."""
        encoder = self.encoder(name)
        if not encoder.start:
            return ""
        starts = next(e for e in self.encoders if e.name == encoder.start).members
        return starts[0].name if len(starts) == 1 else next(m.name for m in starts if m.seed == encoder.seed)

    def seen_by(self, name: str) -> list[str]:
        """Names of the collections that an encoder, and what it started from, learnt from."""
        start = self.start_of(name)
        earlier = self.seen_by(start) if start else []
        return list(dict.fromkeys([*self.encoder(name).collections, *earlier]))

    def classification_recipe(self, name: str) -> dict[str, Any]:
        """What `score_classes` needs to know of an evaluation."""
        evaluation = self.classification(name)
        own = {"resamples": evaluation.resamples, "seed": evaluation.seed}
        return {"evaluation": name, **self._called(evaluation), **own, "arms": self.arms(evaluation)}

    def attribution_recipe(self, name: str) -> dict[str, Any]:
        """What `attribute_classes` needs to know of an evaluation."""
        evaluation = self.classification(name)
        return {**self._called(evaluation), "drawn": evaluation.gradcam, "seed": evaluation.seed}

    def classes_called(self, evaluation: Classification) -> list[str]:
        """Classes that the encoders of an evaluation tell apart, by code."""
        own: list[str] = self._compared(evaluation)[0].recipe.get("classes", [])
        return own or classes_of(self.collection(evaluation.collection), evaluation.label)

    def _called(self, evaluation: Classification) -> dict[str, Any]:
        collection, label = self.collection(evaluation.collection), evaluation.label
        what = {"classes": self.classes_called(evaluation), "multi_label": several(collection, label)}
        return {"collection": collection.name, "label": label, **what}

    def reconstruct_recipe(self, name: str) -> dict[str, Any]:
        """What `reconstruct_chips` needs to know of an evaluation."""
        evaluation = self.reconstruction(name)
        return {**self._learnt(evaluation), "random_inits": self.random_inits, "seed": evaluation.seed}

    def reconstruction_recipe(self, name: str) -> dict[str, Any]:
        """What `score_reconstruction` needs to know of an evaluation."""
        evaluation = self.reconstruction(name)
        own = {"resamples": evaluation.resamples, "seed": evaluation.seed}
        return {"evaluation": name, **self._learnt(evaluation), **own, "arms": self.arms(evaluation)}

    def _learnt(self, evaluation: Reconstruction) -> dict[str, Any]:
        classes = classes_of(self.collection(evaluation.collection), evaluation.label)
        return {"collection": evaluation.collection, "label": evaluation.label, "classes": classes}

    def arms(self, evaluation: AnyEvaluation) -> dict[str, list[str]]:
        """Names of the entries that an evaluation compares, each to its encoders, one a seed."""
        return {e.name: [m.name for m in e.members] for e in self._compared(evaluation)}

    def summary_recipe(self) -> dict[str, Any]:
        """What `gather_scores` needs to know."""
        arms = {e.name: [m.name for m in e.members] for e in self.encoders if e.seeds}
        pools = [pool.model_dump(mode="json", exclude={"margin"}) for pool in self.pools if self.of_forests(pool)]
        return {"arms": arms, "pools": pools}

    def mistakes_recipe(self) -> dict[str, Any]:
        """What `gather_mistakes` needs to know."""
        arms = {e.name: [m.name for m in e.members] for e in self.encoders if e.seeds}
        return {"arms": arms, "segmented": {v.name: v.collection for v in self.segmentations}}

    def of_forests(self, pool: Pool) -> bool:
        """Whether a pool is of evaluations by forests."""
        return pool.evaluations[0] in [e.name for e in self.forests]

    def of_mlps(self, pool: Pool) -> bool:
        """Whether a pool is of evaluations by MLPs."""
        return pool.evaluations[0] in [e.name for e in self.mlp_probes]

    def of_pixels(self, pool: Pool) -> bool:
        """Whether a pool is of evaluations of pixels."""
        return pool.evaluations[0] in [e.name for e in self.segmentations]

    def of_heads(self, pool: Pool) -> bool:
        """Whether a pool is of evaluations by the encoders' own heads."""
        return pool.evaluations[0] in [e.name for e in self.classifications]

    def class_pool(self, name: str) -> Pool:
        """The pool of evaluations by heads of that name."""
        return next(p for p in self.pools if p.name == name and self.of_heads(p))

    def class_pool_recipe(self, name: str) -> dict[str, Any]:
        """What `pool_classes` needs to know of a pool; it resamples as its first evaluation does."""
        pool = self.class_pool(name)
        evaluations = [self.classification(e) for e in pool.evaluations]
        entries = {e.name: e.arm or e.name for evaluation in evaluations for e in self._compared(evaluation)}
        content, first = pool.model_dump(mode="json", exclude={"name"}), evaluations[0]
        own = {"pool": name, "resamples": first.resamples, "seed": first.seed}
        return {**content, **own, "arms": list(dict.fromkeys(entries.values())), "entries": entries}

    @property
    def pictured(self) -> list[Classification]:
        """Evaluations by heads whose chips are drawn: of a pool the first alone."""
        return [e for e in self.classifications if e.name not in self._later]

    @property
    def pictured_mlps(self) -> list[MlpProbe]:
        """Evaluations by MLPs whose chips are drawn: of a pool the first alone."""
        return [e for e in self.mlp_probes if e.name not in self._later]

    @property
    def augmented(self) -> list[str]:
        """Encoders whose augmented chips are drawn: of several seeds or collections the first."""
        augmenting = [e for e in self.encoders if load_method(e.method).augments and e.full_recipe.epochs]
        return list({e.arm or e.name: e.members[0].name for e in reversed(augmenting)}.values())[::-1]

    @property
    def _later(self) -> set[str]:
        """Names of evaluations that are in a pool and first in none."""
        first = {pool.evaluations[0] for pool in self.pools}
        return {name for pool in self.pools for name in pool.evaluations[1:]} - first

    def judged(self, evaluation: AnyEvaluation) -> list[str]:
        """Names of the encoders that an evaluation compares, one a seed."""
        return [member.name for encoder in self._compared(evaluation) for member in encoder.members]

    def _compared(self, evaluation: AnyEvaluation) -> list[EncoderEntry]:
        reference = evaluation.reference if isinstance(evaluation, Evaluation) else ""
        named = [e.name for e in self._able(evaluation)] if evaluation.encoders == "all" else evaluation.encoders
        return [encoder for encoder in self.encoders if encoder.name in named or encoder.name == reference]

    def _able(self, evaluation: AnyEvaluation) -> list[EncoderEntry]:
        """The encoders that an evaluation could compare, in study order.

        Forests, pixels and MLPs: those that can embed all its collections and learnt without labels, as few-shot
        curves of an encoder that has seen all train labels would not be few-shot. Heads: those that learnt the label on
        the collection. Reconstruction: autoencoders that can embed it.
        """
        if isinstance(evaluation, Classification):
            return able_classifiers(self.encoders, evaluation)
        collections = [self.collection(name) for name in evaluation.collections]
        able = [e for e in self.encoders if not e.supervised and all(self.can_embed(e, c) for c in collections)]
        return [e for e in able if e.autoencoder or not isinstance(evaluation, Reconstruction)]


def _seen(collection: Collection) -> str:
    return f"chips of {collection.chip_px} px of {', '.join(collection.modalities)}"
