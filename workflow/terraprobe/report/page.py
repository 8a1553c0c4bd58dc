"""The report stage: one offline page, with its tables and figures beside it."""

import platform
from importlib.metadata import version
from typing import Any

import pandas as pd

from terraprobe.artifacts import atomic_path, read_arrays, read_table
from terraprobe.errors import TerraprobeError
from terraprobe.report.costs import write_costs
from terraprobe.report.drawing import Gallery
from terraprobe.report.errormap import error_map, mistakes_table
from terraprobe.report.explorer import explorer
from terraprobe.report.html.render import render_page
from terraprobe.report.inputs import by_arm, read_collections, read_encoders
from terraprobe.report.leakage import alike_table, leakage_table
from terraprobe.report.material import Archive, Material
from terraprobe.report.notes import ReportRecipe
from terraprobe.report.overview import collections_table, encoders_table, labels_table, missing_table, scores_table
from terraprobe.report.projection import skipped_projections
from terraprobe.report.sections import (
    class_pools_of,
    classifications,
    headlines,
    mlp_pools_of,
    mlp_probes,
    opening,
    pictures,
    pools,
    provenance,
    published,
    reconstructions,
    segmentation_pools_of,
    segmentations,
    side_by_side,
    trainings,
)
from terraprobe.report.tables import Table, write_tables
from terraprobe.stage import In, Ins, Out, progress

CONTENTS = (
    ("summary", "Summary"), ("compared", "Side by side"), ("classes", "With labels"), ("bands", "Band by band"),
    ("reconstruction", "Reconstruction"), ("segmentation", "Pixels"), ("places", "Where"),
    ("leakage", "Leakage"), ("chips", "Chips"), ("training", "Training"), ("fewshot", "Few labels"),
    ("embeddings", "Embeddings"), ("labels", "Labels"), ("scores", "All scores"), ("missing", "Missing"),
    ("published", "Published"),
    ("provenance", "Provenance"),
)  # fmt: skip
"""Anchor and short title of every section, in order; those of `_absent` are left out."""

_LIBRARIES = ("terraprobe", "torch", "scikit-learn", "rasterio", "numpy", "pandas", "matplotlib")


def write_report(
    *, ledger: Ins, claim_ledger: Ins,
    chips: Ins, labels: Ins, specs: Ins, cards: Ins, histories: Ins, projections: In, scores: In, summary: In,
    differences: In, pooled: In, optimism: In, classes: Ins, class_differences: Ins, class_regions: Ins,
    class_pools: Ins, attributions: Ins, mlp: Ins, mlp_differences: Ins, mlp_curves: Ins, mlp_pools: Ins,
    band_attributions: Ins, band_projections: Ins, views: Ins,
    reconstruction: Ins, reconstruction_differences: Ins, images: Ins, segmentation: Ins, segmentation_classes: Ins,
    segmentation_differences: Ins, segmentation_pools: Ins, pixel_maps: Ins, leakage: Ins, mistakes: In, compute: Ins,
    recipe: ReportRecipe, page: Out,
) -> None:  # fmt: skip
    """Write the report of a study.

    Args:
        ledger: of `write_ledger` where the study names papers; nothing elsewhere.
        claim_ledger: of `write_ledger`, likewise.
        chips: `chips.parquet` of every collection.
        labels: `labels.parquet` of every collection that has labels.
        specs: `spec.json` of every chip store and label store.
        cards: `card.json` of every encoder.
        histories: `history.parquet` of every encoder.
        projections: of `project_embeddings`.
        scores: every score row; copied to the tables.
        summary: of `gather_scores`.
        differences: of `gather_scores`.
        pooled: of `gather_scores`.
        optimism: of `gather_scores`.
        classes: scores of `score_classes`, one of every evaluation of supervised encoders.
        class_differences: differences of `score_classes`, likewise.
        class_regions: regions of `score_classes`, likewise.
        class_pools: of `pool_classes`, one of every pool of supervised encoders.
        attributions: of `attribute_classes`, `<evaluation>.npz` of the evaluations whose chips are drawn.
        mlp: scores of `score_mlp`, one of every evaluation by MLPs.
        mlp_differences: differences of `score_mlp`, likewise.
        mlp_curves: ROC curves of `score_mlp`, likewise.
        band_attributions: of `attribute_bands`, `<evaluation>.attributions.npz` of the evaluations that are drawn.
        band_projections: of `project_bands`, `<evaluation>.projections.parquet`, likewise.
        views: of `augment_chips`, `<encoder>/views.npz` of the encoders whose augmented chips are drawn.
        mlp_pools: of `pool_mlp`, one of every pool of evaluations by MLPs.
        reconstruction: scores of `score_reconstruction`, one of every evaluation of autoencoders.
        reconstruction_differences: differences of `score_reconstruction`, likewise.
        images: of `reconstruct_chips`, `<evaluation>/<encoder>.npz` of the first seed of every autoencoder.
        segmentation: scores of `score_segmentation`, one of every evaluation of pixels.
        segmentation_classes: classes of `score_segmentation`, likewise.
        segmentation_differences: differences of `score_segmentation`, likewise.
        segmentation_pools: of `pool_segmentation`, one of every pool of evaluations of pixels.
        pixel_maps: of `segment_chips`, `<evaluation>/<encoder>.npz` of the first seed of every encoder.
        leakage: `leakage.json` of every collection.
        mistakes: of `gather_mistakes`.
        compute: of `count_compute` where encoders are set side by side; nothing elsewhere.
        recipe: what the study says about itself.
        page: HTML; `tables/*.{csv,md,tex}`, `figures/*.{svg,png}`, `figures/captions.md` and, of trainings with labels,
            `cost/` are written beside it.

    Raises:
        TerraprobeError: an input is empty, missing or does not fit the others.
    """
    material = Material(
        recipe=recipe,
        ledger=_concat(ledger),
        claim_ledger=_concat(claim_ledger),
        collections=read_collections(recipe.collections, chips, labels, specs, leakage),
        encoders=read_encoders(recipe.encoders, cards, histories),
        summary=read_table(summary),
        differences=read_table(differences),
        pooled=read_table(pooled),
        projections=read_table(projections),
        optimism=read_table(optimism),
        classes=_concat(classes),
        class_differences=_concat(class_differences),
        class_regions=_concat(class_regions),
        class_pools=_concat(class_pools),
        attributions={path.stem: read_arrays(path) for path in attributions},
        reconstruction=_concat(reconstruction),
        reconstruction_differences=_concat(reconstruction_differences),
        images=_by_evaluation(images),
        segmentation=_concat(segmentation),
        segmentation_classes=_concat(segmentation_classes),
        segmentation_differences=_concat(segmentation_differences),
        segmentation_pools=_concat(segmentation_pools),
        pixel_maps=_by_evaluation(pixel_maps),
        mlp=_concat(mlp),
        mlp_differences=_concat(mlp_differences),
        mlp_curves=_concat(mlp_curves),
        mlp_pools=_concat(mlp_pools),
        band_attributions={path.name.split(".")[0]: read_arrays(path) for path in band_attributions},
        band_projections={path.name.split(".")[0]: read_table(path) for path in band_projections},
        views={path.parent.name: read_arrays(path) for path in views},
        compute=_concat(compute),
    )
    if recipe.evaluations and not len(material.summary):
        raise TerraprobeError(f"{summary}: no scores. Name at least one evaluation in the study, then run again.")
    wrong = read_table(mistakes)
    tables = [*_tables(material), mistakes_table(wrong)]
    gallery = Gallery(page.parent / "figures")
    content: dict[str, Any] = {
        **{f"{table.name}_table": table for table in tables},
        "recipe": recipe,
        "contents": [(anchor, title) for anchor, title in CONTENTS if anchor not in _absent(recipe)],
        "opening": opening(material),
        "compared": side_by_side(material),
        "pools": pools(material, gallery),
        "class_pools": class_pools_of(material, gallery),
        "classifications": classifications(material, gallery),
        "mlp_probes": mlp_probes(material, gallery),
        "mlp_pools": mlp_pools_of(material, gallery),
        "reconstructions": reconstructions(material, gallery),
        "segmentations": segmentations(material, gallery),
        "segmentation_pools": segmentation_pools_of(material, gallery),
        "headlines": headlines(material, gallery),
        "published": published(material),
        "explorer": explorer(material.collections, material.encoders, material.projections),
        "error_map": error_map(material.collections, wrong, recipe.titles),
        "skipped": skipped_projections(projections),
        "encoders": provenance(material),
        "versions": [("python", platform.python_version()), *((name, version(name)) for name in _LIBRARIES)],
    }
    tables += content["published"]["tables"] if content["published"] else []
    tables += [item["table"] for item in content["headlines"] if item["table"]]
    tables += [item["table"] for item in (*content["compared"], *content["pools"], *content["class_pools"])]
    tables += [item[name] for item in content["classifications"] for name in ("table", "regions", "differences")]
    tables += [item[name] for item in content["reconstructions"] for name in ("table", "differences")]
    tables += [item[name] for item in content["segmentations"] for name in ("table", "classes", "differences")]
    tables += [item[name] for item in content["mlp_probes"] for name in ("table", "scores", "differences")]
    tables += [item["table"] for item in (*content["mlp_pools"], *content["segmentation_pools"])]
    tables += [item["recipe"] for item in content["encoders"]]
    tables += [item["seeds"] for item in content["encoders"] if item["seeds"]]
    whole = {"episodes": read_table(scores), "differences": material.differences, "optimism": material.optimism}
    tables += [Table(name, "", (), frame) for name, frame in whole.items()]
    html = render_page({**content, **pictures(material, gallery)})
    gallery.finish()
    write_tables(tables, page.parent / "tables")
    write_costs(recipe, trainings(material), [*content["compared"], *content["classifications"]], page)
    with atomic_path(page) as temporary:
        temporary.write_text(html)
    progress(f"report: {len(gallery.captions)} figures, {len(tables)} tables, {len(html) / 1e6:.1f} MB: {page}")


def _absent(recipe: ReportRecipe) -> set[str]:
    """Sections that this study has nothing for."""
    filled = {
        "published": recipe.papers,
        "compared": [note for note in recipe.encoders if note.budgets],
        "classes": recipe.classifications, "bands": recipe.mlp_probes, "reconstruction": recipe.reconstructions,
        "segmentation": recipe.segmentations, "fewshot": recipe.evaluations, "scores": recipe.evaluations,
    }  # fmt: skip
    return {anchor for anchor, entries in filled.items() if not entries}


def _concat(paths: Ins) -> pd.DataFrame:
    return pd.concat([read_table(path) for path in paths], ignore_index=True) if paths else pd.DataFrame()


def _by_evaluation(paths: Ins) -> dict[str, dict[str, Archive]]:
    found: dict[str, dict[str, Archive]] = {}
    for path in paths:
        found.setdefault(path.parent.name, {})[path.stem] = read_arrays(path)
    return found


def _tables(material: Material) -> list[Table]:
    """Tables of the whole study."""
    return [
        encoders_table(by_arm(material.encoders)),
        collections_table(material.collections),
        leakage_table(material.collections),
        alike_table(material.collections),
        labels_table(material.collections),
        missing_table(material.collections),
        scores_table(material.summary, {c.name: c.note.kind for c in material.collections}),
    ]
