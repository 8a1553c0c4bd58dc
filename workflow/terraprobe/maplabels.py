"""From few labels to a map: a probe of pixels fitted on a user's labels as a study fits one, scored on ground held out.

Chips, blocks and split are those that `terraprobe new-study` chooses for the area; the learning rate is chosen on
validation chips; test chips are called once. What is written is the map of the area, with the score in its metadata.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraprobe.acquire.folder import IndexRecipe, index_folder, read_facts
from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import read_json, read_table, table_metadata, write_table
from terraprobe.chips.cut import CutRecipe, SealRecipe, cut_chips, seal_store
from terraprobe.classmap import ClassMap
from terraprobe.collections.areagrid import AreaGrid, read_area
from terraprobe.collections.grid import GridRecipe, lay_grid
from terraprobe.collections.splits import SplitRecipe, assign_splits
from terraprobe.encoders import CARD, WEIGHTS, Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.mapping import write_map
from terraprobe.mapscene import Scene, scene_files
from terraprobe.modalities import MODALITIES
from terraprobe.newstudy.ground import Ground, lay, split_ground
from terraprobe.newstudy.labels import OwnLabels, read_labels
from terraprobe.probes.inits import FLOOR, TRAINED
from terraprobe.probes.labelled_pixels import LabelledLand
from terraprobe.probes.pixel_floors import segment_floors
from terraprobe.probes.segmentation import segment_chips, select_segmentation
from terraprobe.probes.segmentation_fit import ProbeRecipe
from terraprobe.probes.segmentation_model import MODEL, MODEL_CARD, ProbeModel
from terraprobe.probes.segmentation_scores import SegmentationRecipe, score_segmentation
from terraprobe.stage import progress
from terraprobe.study.segmentations import Segmentation

AREA = "area"
"""What the collection is called."""

LEAST = 2
"""Train chips, and test chips, that a class must be on: a score that stands on one chip says nothing. [D]"""

SHARD = "000"


@dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
        encoder: folder of a trained encoder.
        labels: `fields.gpkg:crop` or `map.tif`.
        aoi: polygons of the ground that is learnt from and mapped.
        images: GeoTIFFs or a folder of them; of several modalities a folder with a sub-folder for each.
        offset_dn: added to every DN of reflectance; None where it is not said.
    """

    encoder: Path
    labels: str
    aoi: Path
    images: Sequence[Path]
    offset_dn: int | None


def map_from_labels(wanted: Wanted, output: Path) -> None:
    """Fit a probe, score it on the ground that was held out, and map the area.

    Args:
        wanted: what is learnt from.
        output: GeoTIFF, as `write_map` writes it; its metadata hold the score.

    Raises:
        TerraprobeError: an input is absent or broken, lies elsewhere or lacks a band, or labels are too few for a score
            on ground held out.
    """
    encoder = Encoder.load(wanted.encoder.resolve())
    if any(tower.context is not None for tower in encoder.inputs.values()):
        raise TerraprobeError(
            f"--encoder: {encoder.name} takes climate and elevation beside the image, which terraprobe map does not "
            "read. Give an encoder without conditioning."
        )
    if not wanted.aoi.is_file():
        raise TerraprobeError(f"--aoi: {wanted.aoi.absolute()} is absent. Give a file of polygons, such as GeoJSON.")
    chip_px: int = encoder.card["chip_px"]
    own = read_labels(wanted.labels, lay(wanted.aoi, chip_px, 1, AREA))
    ground = split_ground(wanted.aoi, chip_px, AREA, own)
    area, modalities = read_area(wanted.aoi), _modalities(encoder, wanted.images)
    Scene.open(wanted.images, {name: MODALITIES[name].bands for name in modalities}, wanted.offset_dn).within(area)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as folder:
        probe, facts = _fit(Path(folder), wanted, modalities, own, ground)
        model = ProbeModel.load(probe)
        write_map(model, Scene.open(wanted.images, model.bands, wanted.offset_dn).within(area), output, facts)
    for line in ground.notes:
        progress(f"note: {line}")
    progress(f"held out: {facts['held_out']}")


def _modalities(encoder: Encoder, images: Sequence[Path]) -> list[str]:
    """Modalities of an encoder that there are images of."""
    named = sorted({tower.modality for tower in encoder.inputs.values()})
    if len(named) == 1 or not (len(images) == 1 and images[0].is_dir()):
        return named
    there = [name for name in named if (images[0] / name).is_dir()]
    if not there:
        raise TerraprobeError(
            f"--input: {images[0]} has none of the sub-folders {', '.join(named)}, which {encoder.name} sees. Put the "
            "GeoTIFFs of each into a folder of that name."
        )
    return there


def _fit(
    root: Path, wanted: Wanted, modalities: list[str], own: OwnLabels, ground: Ground
) -> tuple[Path, dict[str, Any]]:
    """Folder of the fitted probe, and what is said of it in the map."""
    folder = wanted.encoder.resolve()
    chips = _labelled_chips(root, wanted.aoi, own, ground)
    truth = _cut_labels(root, chips, own)
    stores = [_cut_images(root, chips, name, wanted, alone=len(modalities) == 1) for name in modalities]
    recipe = _protocol(own, _classes(chips, stores, truth, own))
    card, weights = folder / CARD, folder / WEIGHTS
    given: dict[str, Any] = {"chips": chips, "stores": stores, "context": [], "truth": truth, "card": card,
                             "weights": weights, "recipe": recipe}  # fmt: skip
    probe, selection = root / "probe", root / "selection.json"
    counts = [root / f"{folder.name}.parquet", root / "floors.parquet"]
    select_segmentation(**given, selection=selection)
    segment_chips(
        **given, strata=[], selection=selection, counts=counts[0], maps=root / "maps.npz", model=probe / MODEL,
        model_card=probe / MODEL_CARD,
    )  # fmt: skip
    segment_floors(chips=chips, stores=stores, truth=truth, strata=[], cards=[card], weights=[weights], recipe=recipe,
                   counts=counts[1])  # fmt: skip
    tables = {name: root / f"{name}.parquet" for name in ("scores", "classes", "differences", "confusion", "samples")}
    what = {"evaluation": recipe.evaluation, "collection": AREA, "label": own.layer, "classes": tuple(recipe.classes)}
    score_segmentation(
        counts=counts, chips=chips, recipe=SegmentationRecipe(**what, arms={folder.name: (folder.name,)}), **tables
    )
    return probe, _facts(tables["scores"], read_json(probe / MODEL_CARD)["unit"], own, ground)


def _labelled_chips(root: Path, aoi: Path, own: OwnLabels, ground: Ground) -> Path:
    """The chips that have labels, with their split; those without are neither learnt nor judged."""
    laid, split, chips = root / "grid.parquet", root / "split.parquet", root / "chips.parquet"
    area = AreaGrid(source=AREA, chip_px=ground.chip_px, block_chips=ground.block_chips, shards=1)
    lay_grid(tiles=[aoi], recipe=GridRecipe(area=area), grid=laid)
    rule = SplitRecipe.model_validate({"split": ground.split})
    assign_splits(grid=laid, context=[], labels=[], official=[], recipe=rule, chips=split)
    frame = read_table(split)
    kept = frame[frame["chip_id"].isin(own.labelled)].reset_index(drop=True)
    write_table(chips, kept, {key: value for key, value in table_metadata(split).items() if key in ("chip_px", "clip")})
    return chips


def _cut_labels(root: Path, chips: Path, own: OwnLabels) -> Path:
    classes, manifest = ClassMap(nodata=own.nodata, codes=own.codes), root / "labels.json"
    recipe = IndexRecipe(layer=own.layer, folder=str(own.path.absolute()), classes=classes, column=own.column)
    index_folder(recipe=recipe, manifest=manifest)
    return _cut(root / "labels", chips, manifest, own.layer, classes)


def _cut_images(root: Path, chips: Path, modality: str, wanted: Wanted, *, alone: bool) -> Path:
    layer, manifest = MODALITIES[modality], root / f"{modality}.json"
    offset = wanted.offset_dn if layer.unit == "reflectance" else None
    files = [path.absolute() for path in scene_files(wanted.images, modality, alone)]
    recipe = IndexRecipe(layer=modality, folder=str(files[0].parent), offset_dn=offset)
    rows = [(str(path), modality, read_facts(path, layer, recipe)) for path in files]
    write_manifest(manifest, {"dataset": "images of the map"}, rows)
    return _cut(root / "chips", chips, manifest, modality, None)


def _cut(folder: Path, chips: Path, manifest: Path, layer: str, classes: ClassMap | None) -> Path:
    """`spec.json` of a sealed store."""
    store = folder / layer
    pixels, spec = store / f"{SHARD}.npy", store / "spec.json"
    recipe = CutRecipe(layer=layer, shard=SHARD, classes=classes)
    cut_chips(grid=chips, manifest=manifest, recipe=recipe, pixels=pixels, valid=store / f"{SHARD}.valid.npy")
    seal_store(grid=chips, shards=[pixels], recipe=SealRecipe(layer=layer, classes=classes), spec=spec)
    return spec


def _classes(chips: Path, stores: list[Path], truth: Path, own: OwnLabels) -> list[str]:
    """Classes that are on labelled chips of the area, in the order of their codes.

    Raises:
        TerraprobeError: one of them is on too few train or test chips.
    """
    names = [own.codes[code] for code in sorted(own.codes)]
    labelled = LabelledLand.open(Land.open(AREA, chips, stores, []), truth, {name: (name,) for name in names})
    held = {part: _chips_of(labelled, part, len(names)) for part in ("train", "val", "test")}
    present = [k for k in range(len(names)) if sum(held[part][k] for part in held)]
    for k in present:
        if min(held["train"][k], held["test"][k]) < LEAST:
            raise TerraprobeError(
                f"--labels: class {names[k]} is on {held['train'][k]} train and {held['test'][k]} test chips of "
                f"{labelled.labels.chip_px} px, and a score on ground held out needs {LEAST} of each. Label more of it "
                "in places apart from each other, or merge it with another class."
            )
    if len(present) < 2:
        raise TerraprobeError(
            f"--labels: {own.path} has {len(present)} class on the chips of the area that have labels, allowed two or "
            "more. Label what is not of it as another class."
        )
    return [names[k] for k in present]


def _chips_of(labelled: LabelledLand, part: str, classes: int) -> list[int]:
    """How many chips of a split each class is on."""
    rows = labelled.labelled(part)
    truth = labelled.truth(rows) if len(rows) else None
    return [0 if truth is None else int((truth == k).any(axis=(1, 2)).sum()) for k in range(classes)]


def _protocol(own: OwnLabels, classes: list[str]) -> ProbeRecipe:
    """The protocol of a study's evaluation of pixels, with all labelled train chips."""
    entry = Segmentation(name="map", probe="segmentation", collection=AREA, label=own.layer, sizes=["full"],
                         repeats=1, random_inits=0)  # fmt: skip
    content = entry.model_dump(mode="json", exclude={"name", "probe", "encoders", "resamples"})
    own_classes = {name: (name,) for name in classes}
    return ProbeRecipe.model_validate(
        {**content, "evaluation": "map", "classes": own_classes, "sizes": (0,), "shown": 0}
    )


def _facts(scores: Path, unit: dict[str, Any], own: OwnLabels, ground: Ground) -> dict[str, Any]:
    """What the metadata of the map say: the score on test chips, what needs no encoder, and what both stand on."""
    table = read_table(scores)
    rows = table[
        (table["init"] == TRAINED) & (table["tower"] == unit["tower"]) & (table["band"] == unit["band"])
    ].set_index("metric")
    facts: dict[str, Any] = {}
    for metric in ("miou", "oa"):
        facts |= {f"{metric}{end}": f"{rows.loc[metric, key]:.4f}" for end, key in _ENDS.items()}
    first = rows.iloc[0]
    facts["held_out"] = (
        f"mIoU {facts['miou']} [{facts['miou_low']}, {facts['miou_high']}], overall accuracy {facts['oa']} "
        f"[{facts['oa_low']}, {facts['oa_high']}] on {first['n_test']} test chips in {first['n_blocks']} blocks, 95 % "
        "intervals over blocks" + (": fewer blocks than would carry a claim" if first["few_blocks"] else "")
    )
    for row in table[(table["init"] == FLOOR) & (table["metric"] == "miou")].to_dict("records"):
        facts[f"floor_{row['tower'].replace(' ', '_')}_miou"] = f"{row['value']:.4f}"
    counts = {"train_chips": int(first["n_train"]), "test_chips": int(first["n_test"]),
              "test_blocks": int(first["n_blocks"])}  # fmt: skip
    split = ", ".join(f"{key} {value}" for key, value in ground.split.items())
    source = f"{own.path.name}:{own.column}" if own.column else own.path.name
    return facts | counts | {"split": split, "labels": source, "notes": "; ".join(ground.notes)}


_ENDS = {"": "value", "_low": "low", "_high": "high"}
