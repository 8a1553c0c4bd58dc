"""Land cover of every pixel: the entry of a study file, and what the rest of the study says about it."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from terraprobe.methods import load_method
from terraprobe.modalities import LabelLayer
from terraprobe.stage import Recipe
from terraprobe.study.collections import Collection
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.names import Name, check_names
from terraprobe.towers import CONCAT

if TYPE_CHECKING:
    from terraprobe.study.whole import Study

MOST = 254
"""Classes that fit into a byte beside "not known"."""


class Segmentation(Recipe):
    """Classes of every pixel of test chips, by a head on the features that an encoder has before it pools them.

    Attributes:
        name: of its folder.
        probe: `segmentation`.
        collection: whose chips are learnt from and judged. `each: [north, south]` instead is short for one evaluation a
            collection, `<name>_north` and `<name>_south`.
        label: layer of pixel classes, such as `worldcover`, `osm` or one of your own. Pixels that it does not label
            are neither learnt nor judged: unlabelled is not a class.
        classes: name to the layer's classes that it stands for, so that some can be merged; those of none count as
            unlabelled. All of the layer's classes, each by itself, where nothing is named.
        strata: another layer of classes of the collection, such as `s2_cloud`, by whose classes test pixels are also
            scored apart; none: they are not.
        encoders: names, or `all` that learnt without labels and can embed the collection.
        protocol: `linear`: a 1 x 1 convolution on frozen features; `decoder`: a DeepLabv3 head on frozen features;
            `finetune`: the head of `linear`, and the encoder trained with it.
        bands: of towers that take a channel at a time, those that are probed, each by a head of its own; all of them
            where none is named. A tower whose channels have no names is left out.
        towers: that are probed, by name; `concat` is all towers of an encoder that takes them together. Where none is
            named it is that, or each tower of an encoder that takes one at a time.
        sizes: numbers of labelled train chips; `full` is all of them.
        repeats: draws of each size, nested, the same for every encoder; the first of each also chooses the learning
            rate.
        optimiser: `sgd` with momentum 0.9, or `adam`; weight decay 5e-4; the learning rate falls to 0 by a cosine.
        lrs: learning rates to choose from on validation chips, the same for every initialisation.
        steps: of the optimiser.
        batch_size: chips a step.
        random_inits: untrained twins of each encoder, which get the same heads, draws and choices: a floor.
        resamples: of the test blocks, for the intervals.
        seed: of draws, heads, order and resamples, the same for every encoder.
    """

    name: Name
    probe: Literal["segmentation"]
    collection: str
    label: str
    classes: dict[Name, list[str]] = {}
    strata: str = ""
    encoders: Literal["all"] | list[str] = "all"
    protocol: Literal["linear", "decoder", "finetune"] = "linear"
    bands: list[str] = []
    towers: list[str] = []
    sizes: list[Annotated[int, Field(ge=2)] | Literal["full"]] = Field([100, "full"], min_length=1)
    repeats: int = Field(3, ge=1)
    optimiser: Literal["sgd", "adam"] = "sgd"
    lrs: list[Annotated[float, Field(gt=0)]] = Field([0.1, 0.01, 0.001], min_length=1)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(16, ge=2)
    random_inits: int = Field(1, ge=0)
    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0, lt=2**63)

    @field_validator("sizes", "lrs", "bands", "towers")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        check_names(values, values)
        return values

    @property
    def collections(self) -> list[str]:
        """Names of all collections that it reads."""
        return [self.collection]


def pixel_layers(collection: Collection) -> list[LabelLayer]:
    """Label layers of a collection that give each pixel a class."""
    return [layer for layer in collection.label_layers if layer.classes and layer.unit == "class"]


def classes_told_apart(evaluation: Segmentation, collection: Collection) -> dict[str, list[str]]:
    """Name of each class to the layer's classes that it stands for, in the order of their codes."""
    layer = next(layer for layer in pixel_layers(collection) if layer.name == evaluation.label)
    places = {name: place for place, name in enumerate(layer.classes[code] for code in sorted(layer.classes))}
    named = evaluation.classes or {name: [name] for name in places}
    return dict(sorted(named.items(), key=lambda item: min(places[member] for member in item[1])))


def takes_bands(encoder: EncoderEntry) -> bool:
    """Whether its towers take one channel at a time."""
    return not load_method(encoder.method).whole_chips


def check_segmentation(study: "Study", evaluation: Segmentation) -> None:
    """Refuse an evaluation whose label, classes, encoders or bands do not fit it.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    where = f"evaluations[{evaluation.name}]"
    collection = study.collection(evaluation.collection)
    layers = {layer.name: layer for layer in pixel_layers(collection)}
    check_names([evaluation.label], layers, f"{where}.label", f"layers of pixel classes of {collection.name}")
    if evaluation.strata:
        others = [name for name in layers if name != evaluation.label]
        check_names(
            [evaluation.strata], others, f"{where}.strata", f"other layers of pixel classes of {collection.name}"
        )
    _check_classes(evaluation, [*layers[evaluation.label].classes.values()], f"{where}.classes")
    able = [e for e in study.encoders if not e.supervised and study.can_embed(e, collection)]
    if evaluation.encoders != "all":
        why = f"can embed {collection.name}, learnt without labels"
        check_names(evaluation.encoders, [e.name for e in able], f"{where}.encoders", why)
        able = [e for e in able if e.name in evaluation.encoders]
    if not able:
        raise ValueError(f"{where}.encoders: no encoder that learnt without labels can embed {collection.name}")
    single = [t for e in able if takes_bands(e) for t in e.full_recipe.towers.values()]
    held = list(dict.fromkeys(b for t in single if t.modality in collection.modalities for b in t.band_names))
    check_names(evaluation.bands, held, f"{where}.bands", "seen one at a time")
    towers = list(dict.fromkeys(name for e in able for name in e.full_recipe.towers))
    joint = any(load_method(e.method).joint for e in able)
    check_names(evaluation.towers, [*towers, *([CONCAT] if joint else [])], f"{where}.towers")


def _check_classes(evaluation: Segmentation, held: list[str], where: str) -> None:
    members = [member for named in evaluation.classes.values() for member in named]
    check_names(members, held, where, f"of {evaluation.label}")
    empty = [name for name, named in evaluation.classes.items() if not named]
    if empty:
        raise ValueError(f"{where}.{empty[0]}: found none, allowed one or more of {', '.join(held)}")
    if len(evaluation.classes or held) > MOST:
        raise ValueError(f"{where}: {len(evaluation.classes or held)} classes, allowed at most {MOST}; merge some")
    if len(evaluation.classes) == 1:
        raise ValueError(f"{where}: found {next(iter(evaluation.classes))} alone, allowed two classes or more")


def probe_recipe(study: "Study", evaluation: Segmentation) -> dict[str, Any]:
    """What the stages that fit heads need to know: nothing about which encoders are compared."""
    content = evaluation.model_dump(mode="json", exclude={"name", "probe", "encoders", "resamples"})
    classes = classes_told_apart(evaluation, study.collection(evaluation.collection))
    sizes = [0 if size == "full" else size for size in evaluation.sizes]
    return {**content, "evaluation": evaluation.name, "classes": classes, "sizes": sizes}


def segmentation_pool_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `pool_segmentation` needs to know of a pool."""
    pool = next(p for p in study.pools if p.name == name)
    compared = {e for evaluation in pool.evaluations for e in study.arms(study.segmentation(evaluation))}
    entries = {e.name: e.arm or e.name for e in study.encoders if e.name in compared}
    return {**pool.model_dump(mode="json", exclude={"name"}), "pool": name, "entries": entries}


def comparison_recipe(study: "Study", evaluation: Segmentation) -> dict[str, Any]:
    """What the stage that puts all encoders side by side needs to know."""
    classes = classes_told_apart(evaluation, study.collection(evaluation.collection))
    own = {"resamples": evaluation.resamples, "seed": evaluation.seed, "classes": list(classes)}
    where = {"evaluation": evaluation.name, "collection": evaluation.collection, "label": evaluation.label}
    return {**where, **own, "arms": study.arms(evaluation)}
