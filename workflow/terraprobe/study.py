"""The study file: what to collect, what to pretrain, what to evaluate. Checked whole before the first job.

Collections, encoders and evaluations are lists of named entries. A key that is not known, a name that is not
known and a combination that cannot work fail here, with the key, what was found and what is allowed.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from terraprobe.acquire.packaged import SCENES
from terraprobe.acquire.simulated.world import SimulatedWorld
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.collections.splits import Geobands, Stratified
from terraprobe.errors import TerraprobeError
from terraprobe.explain import explain
from terraprobe.methods import METHODS, recipe_model
from terraprobe.modalities import LABELS, MODALITIES, MONTHS
from terraprobe.stage import Recipe

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Split = Annotated[Geobands | Stratified, Field(discriminator="kind")]


class Collection(Recipe):
    """What every collection has.

    Attributes:
        name: of its folder.
        modalities: aligned inputs to cut, names of the modality table.
        labels: label layers to cut, names of the label table.
        chip_px: chip side in pixels of 10 m.
        split: how its chips are divided.
    """

    name: Name
    modalities: list[str] = Field(min_length=1)
    labels: list[str] = []
    chip_px: int = Field(64, ge=8, le=2048)
    split: Split

    @field_validator("modalities", "labels")
    @classmethod
    def _known(cls, names: list[str], info: Any) -> list[str]:
        table = MODALITIES if info.field_name == "modalities" else LABELS
        check_names(names, table)
        return names

    @model_validator(mode="after")
    def _chip_fits(self) -> "Collection":
        side_m = self.chip_px * CHIP_RESOLUTION_M
        for name in self.modalities:
            least = MODALITIES[name].min_chip_m
            if side_m < least:
                raise ValueError(
                    f"chip_px: {self.chip_px} ({side_m:g} m) does not fit {name}, whose coarsest band needs chips of "
                    f"at least {least:g} m: chip_px >= {-(-least // CHIP_RESOLUTION_M):g}"
                )
        return self


class SceneCollection(Collection):
    """A genuine Sentinel-2 scene from a small public package.

    Attributes:
        kind: `scene`.
        scene: which one.
        block_chips: side of a spatial block, the unit of the bootstrap, in chips.
    """

    kind: Literal["scene"]
    scene: str
    block_chips: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _scene_has_it(self) -> "SceneCollection":
        check_names([self.scene], SCENES, "scene")
        held = SCENES[self.scene].files
        for key, names, table in (("modalities", self.modalities, MODALITIES), ("labels", self.labels, LABELS)):
            check_names(names, [name for name in held if name in table], key, f"of scene {self.scene}")
        return self

    @property
    def shard_names(self) -> list[str]:
        """A scene is small: one shard."""
        return ["000"]

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {"kind": "scene", "source": self.scene, "chip_px": self.chip_px, "block_chips": self.block_chips}


class SimulatedCollection(Collection):
    """A simulated Earth in the providers' raw formats, with climate and regions.

    Attributes:
        kind: `simulated`.
        world: its settings.
        shards: into how many storage units its places are dealt; one job each.
    """

    kind: Literal["simulated"]
    world: SimulatedWorld
    shards: int = Field(1, ge=1, le=1000)

    @model_validator(mode="after")
    def _places_hold_chips(self) -> "SimulatedCollection":
        from terraprobe.acquire.simulated.world import LAYERS

        check_names(self.modalities, [name for name in LAYERS if name in MODALITIES], "modalities", "simulated")
        check_names(self.labels, [name for name in LAYERS if name in LABELS], "labels", "simulated")
        monthly = [name for name in self.modalities if name.endswith("_monthly")]
        if monthly and len(self.world.months) != len(MONTHS):
            raise ValueError(f"world.months: found {len(self.world.months)}, {monthly[0]} needs {len(MONTHS)}")
        if self.world.place_px < self.chip_px:
            raise ValueError(f"chip_px: {self.chip_px} does not fit world.place_px {self.world.place_px}; at most that")
        if self.shards > self.world.n_places:
            raise ValueError(f"shards: {self.shards}, at most world.n_places = {self.world.n_places}")
        return self

    @property
    def places(self) -> list[list[int]]:
        """Places of each shard, in turn."""
        cuts = [self.world.n_places * k // self.shards for k in range(self.shards + 1)]
        return [list(range(low, high)) for low, high in pairwise(cuts)]

    @property
    def shard_names(self) -> list[str]:
        """Names of the storage units."""
        return [f"{shard:03d}" for shard in range(self.shards)]

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {
            "kind": "places",
            "source": self.name,
            "chip_px": self.chip_px,
            "world": self.world.model_dump(mode="json"),
            "shards": self.places,
        }


AnyCollection = Annotated[SceneCollection | SimulatedCollection, Field(discriminator="kind")]


class EncoderEntry(Recipe):
    """One encoder to pretrain.

    Attributes:
        name: of its folder.
        method: name of the method table.
        collections: whose train chips it learns from.
        seed: of initialisation, order and draws.
        recipe: what differs from the method's own recipe (`terraprobe describe METHOD` prints it).
    """

    name: Name
    method: str
    collections: list[str] = Field(min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)
    recipe: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _not_the_floors(cls, name: str) -> str:
        if name == "floors":
            raise ValueError("found 'floors', allowed any other name: files of that name hold the floors")
        return name

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        check_names([method], METHODS)
        return method

    @model_validator(mode="after")
    def _recipe_fits(self) -> "EncoderEntry":
        model = recipe_model(self.method)
        try:
            model.model_validate(self.recipe)
        except ValidationError as error:
            raise ValueError(explain(error, model, "recipe")) from error
        return self

    @property
    def full_recipe(self) -> Any:
        """The method's recipe with this entry's differences."""
        return recipe_model(self.method).model_validate(self.recipe)


class Evaluation(Recipe):
    """Few-shot random forests on frozen embeddings.

    Attributes:
        name: of its folder.
        probe: `forest`.
        collection: whose chips are judged.
        encoders: names, or `all` that can embed the collection.
        tasks: chip-level labels, each a binary task at its train median.
        sizes: numbers of labelled train chips; `full` is all of them.
        repeats: draws of each size.
        full_repeats: forests on all of them, where only the forest's own seed differs.
        draw: `uniform` at random as in the paper, or `stratified` by class.
        trees: numbers of trees to choose from on validation.
        depths: depths to choose from on validation.
        seed: of the draws, the same for every encoder.
    """

    name: Name
    probe: Literal["forest"]
    collection: str
    encoders: Literal["all"] | list[str] = "all"
    tasks: list[str] = Field(min_length=1)
    sizes: list[Annotated[int, Field(ge=2)] | Literal["full"]] = Field([10, 100, "full"], min_length=1)
    repeats: int = Field(10, ge=1)
    full_repeats: int = Field(10, ge=1)
    draw: Literal["uniform", "stratified"] = "uniform"
    trees: list[Annotated[int, Field(ge=1)]] = Field([50], min_length=1)
    depths: list[Annotated[int, Field(ge=1)]] = Field([3, 7], min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)

    @field_validator("tasks", "sizes", "trees", "depths")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        check_names(values, values)
        return values

    def forest_recipe(self) -> dict[str, Any]:
        """What `select_forest` and `score_forest` need to know: nothing about which encoders are compared."""
        content = self.model_dump(mode="json", exclude={"name", "probe", "encoders"})
        sizes = [0 if size == "full" else size for size in self.sizes]
        return {**content, "evaluation": self.name, "sizes": sizes}


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
            values = [value for layer in collection.labels for value in LABELS[layer].values]
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

    def collection(self, name: str) -> SceneCollection | SimulatedCollection:
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


def check_names(names: Any, allowed: Any, key: str = "", why: str = "") -> None:
    """Refuse names that are not allowed.

    Args:
        names: what was found.
        allowed: what may be there.
        key: where it was found; empty where pydantic says it.
        why: what makes the allowed ones allowed.

    Raises:
        ValueError: a name is not among the allowed ones, or one is given twice.
    """
    choices = list(allowed)
    where = f"{key}: " if key else ""
    for name in names:
        if name not in choices:
            raise ValueError(f"{where}found {name!r}, allowed{f' ({why})' if why else ''} {_listed(choices)}")
    if len(set(names)) < len(list(names)):
        raise ValueError(f"{where}found {list(names)}, allowed: each name once")


def _listed(choices: list[Any]) -> str:
    return ", ".join(str(c) for c in choices) if choices else "none here"


def parse_study(content: Any, where: str) -> Study:
    """Check a study that has been read already.

    Args:
        content: what the YAML holds.
        where: file name, for errors.

    Raises:
        TerraprobeError: it does not fit; says every key that is wrong.
    """
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise TerraprobeError(f"{where}: {explain(error, Study)}") from error


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        TerraprobeError: the file is absent, not YAML, or does not fit.
    """
    return parse_study(read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """Read YAML in which no key is given twice: YAML itself would silently keep the last.

    Raises:
        TerraprobeError: the file is absent, not YAML, or names a key twice.
    """
    import yaml

    class Strict(yaml.SafeLoader):
        """Refuses a key that is given twice."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            twice = {key for key in keys if keys.count(key) > 1}
            if twice:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{sorted(twice)[0]!r} is given twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_text(), Loader=Strict)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise TerraprobeError(f"{path}: cannot be read ({error.strerror}). Give the path of a study file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TerraprobeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def check_command(argv: list[str]) -> int:
    """`terraprobe check-study FILE`: check, and say in one line what the study is made of."""
    parser = argparse.ArgumentParser(prog="terraprobe check-study", description="Check a study file, run nothing.")
    parser.add_argument("file", type=Path)
    study = load_study(parser.parse_args(argv).file)
    print(
        f"{study.study}: {len(study.collections)} collections, {len(study.encoders)} encoders, "
        f"{len(study.evaluations)} evaluations: fits",
        file=sys.stdout,
    )
    return 0
