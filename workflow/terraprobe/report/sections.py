"""What each section of the page is filled with."""

import json
from typing import Any

from terraprobe.collections.chiptable import have_places
from terraprobe.probes.inits import TRAINED
from terraprobe.probes.tasks import define_task
from terraprobe.report.augmentations import draw_views
from terraprobe.report.bandfeatures import draw_band_attributions, draw_band_projections
from terraprobe.report.bandpictures import draw_bands, draw_classes, draw_curves_of, draw_pooled_bands
from terraprobe.report.bands import (
    arm_sentences,
    band_points,
    bands_differences_table,
    bands_scores_table,
    bands_sentences,
    bands_table,
    judged_bands,
    largest,
)
from terraprobe.report.classes import arms_of, classes_sentences, classes_table, differences_table, regions_table
from terraprobe.report.classpictures import draw_attributions, draw_regions
from terraprobe.report.classpools import class_pool_sentences, class_pool_table, draw_class_pool, judged_classes
from terraprobe.report.contrasts import draw_differences
from terraprobe.report.costs import cost_table
from terraprobe.report.curves import draw_curves
from terraprobe.report.drawing import Gallery, Picture, house_style
from terraprobe.report.featurepictures import draw_features
from terraprobe.report.inputs import Collection, TrainedEncoder, by_arm
from terraprobe.report.leakage import draw_leakage, leakage_sentences
from terraprobe.report.ledger import claims_table, ledger_sentences, ledger_table, verdict_counts
from terraprobe.report.located import draw_located
from terraprobe.report.maps import draw_maps
from terraprobe.report.material import Material
from terraprobe.report.notes import MlpNote
from terraprobe.report.overview import headline_table, recipe_table, seeds_table
from terraprobe.report.pools import draw_pool, judged, pool_sentences, pool_table
from terraprobe.report.reconstruction import (
    draw_reconstructions,
    reconstruction_arms,
    reconstruction_differences,
    reconstruction_sentences,
    reconstruction_table,
)
from terraprobe.report.results import curve_points, headline, refused
from terraprobe.report.samples import draw_samples
from terraprobe.report.scatter import draw_projections, draw_quantiles
from terraprobe.report.segmentation import (
    class_rows_table,
    segmentation_differences,
    segmentation_points,
    segmentation_sentences,
    segmentation_table,
)
from terraprobe.report.segmentationpictures import draw_class_scores, draw_predictions, draw_scarcity
from terraprobe.report.segmentationpools import (
    draw_pixel_pool,
    judged_pixels,
    pixel_pool_sentences,
    pixel_pool_table,
)
from terraprobe.report.sidebyside import Gaps, compared_rows, compared_sentences, compared_table, with_seconds
from terraprobe.report.tables import Table
from terraprobe.report.training import card_facts, draw_training
from terraprobe.report.trainings import few_shot_scores, probe_scores, trainings_table


def opening(material: Material) -> list[str]:
    """How many chips there are of what, and what could not run."""
    counts = "; ".join(
        f"{c.note.title} ({c.note.kind}): {len(c.chips):,} chips "
        + (f"in {c.chips['block'].nunique():,} blocks" if have_places(c.chips) else "without a place on Earth")
        for c in material.collections
    )
    sentences = [f"Data: {counts}." if counts else "Nothing of this could run here."]
    return sentences + [
        f"Not run: {name}: {why.rstrip('.')}." for name, reasons in material.recipe.left_out.items() for why in reasons
    ]


def headlines(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, a picture and a table of differences for every evaluation and encoder that it judges."""
    blocks = []
    for evaluation in material.recipe.evaluations:
        points = curve_points(material.summary, evaluation)
        gaps = material.optimism[material.optimism["evaluation"] == evaluation.name]
        judged = set(material.summary.loc[material.summary["evaluation"] == evaluation.name, "encoder"])
        for encoder in material.recipe.encoders:
            if encoder.name in judged:
                note = material.note(evaluation.collection)
                said = headline(points, material.differences, evaluation, encoder.name)
                with house_style():
                    drawn = draw_differences(evaluation.name, encoder, note, said.rows, gallery)
                blocks.append(
                    {
                        "evaluation": evaluation,
                        "encoder": encoder,
                        "note": note,
                        "pictures": drawn,
                        "sentences": said.sentences,
                        "table": headline_table(f"{evaluation.name}-{encoder.name}", said.rows, note.kind, gaps),
                    }
                )
    return blocks


def classifications(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, tables and pictures for every evaluation of supervised encoders."""
    blocks = []
    for note in material.recipe.classifications:
        arms = arms_of(note, material.classes, material.encoders)
        compared = differences_table(note, material.class_differences, bool(arms["few_blocks"].iloc[0]))
        said = classes_sentences(arms, compared.frame)
        tables = {"table": classes_table(note, arms), "regions": regions_table(note, material.class_regions)}
        collection = material.collection(note.collection)
        judged = [encoder for encoder in material.encoders if encoder.note.name in set(arms["arm"])]
        with house_style():
            drawn = draw_regions(collection, note, gallery) if note.pictured else []
            found = material.attributions.get(note.name)
            seen = draw_attributions(collection, note, judged, found, gallery) if found else []
        shown = {"pictures": drawn, "attributions": seen, "cost": cost_table(note, arms, material.encoders)}
        blocks.append({"evaluation": note, "note": note, "sentences": said, **tables, "differences": compared, **shown})
    return blocks


def class_pools_of(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, a picture and a table for every pool of evaluations of supervised encoders."""
    blocks = []
    for note in material.recipe.class_pools:
        rows = judged_classes(material.class_pools, note)
        with house_style():
            drawn = draw_class_pool(note, rows, gallery)
        said = class_pool_sentences(note, rows)
        blocks.append({"note": note, "sentences": said, "pictures": drawn, "table": class_pool_table(note, rows)})
    return blocks


def reconstructions(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, tables and a picture for every evaluation of autoencoders."""
    blocks = []
    for note in material.recipe.reconstructions:
        arms = reconstruction_arms(note, material.reconstruction, material.encoders)
        few = bool(arms["few_blocks"].iloc[0])
        compared = reconstruction_differences(note, material.reconstruction_differences, few)
        encoders = [encoder for encoder in material.encoders if encoder.note.name in note.encoders]
        images = material.images[note.name]
        with house_style():
            drawn = draw_reconstructions(material.collection(note.collection), note, encoders, images, gallery)
        said = reconstruction_sentences(note, arms, compared.frame)
        tables = {"table": reconstruction_table(note, arms), "differences": compared}
        blocks.append({"note": note, "sentences": said, **tables, "pictures": drawn})
    return blocks


def segmentations(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, tables and pictures for every evaluation of pixels."""
    blocks = []
    for note in material.recipe.segmentations:
        points = segmentation_points(note, material.segmentation)
        compared = segmentation_differences(note, material.segmentation_differences, points)
        encoders = [encoder for encoder in material.encoders if encoder.note.name in note.encoders]
        maps, collection = material.pixel_maps[note.name], material.collection(note.collection)
        with house_style():
            drawn = [
                *draw_predictions(collection, note, encoders, maps, gallery),
                *draw_features(collection, note, encoders, maps, gallery),
                *draw_scarcity(note, points, gallery),
                *draw_class_scores(note, material.segmentation_classes, gallery),
            ]
        tables = {
            "table": segmentation_table(note, points),
            "classes": class_rows_table(note, material.segmentation_classes),
            "differences": compared,
        }
        said = segmentation_sentences(note, points, compared.frame)
        blocks.append({"note": note, "sentences": said, **tables, "pictures": drawn})
    return blocks


def segmentation_pools_of(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, a picture and a table for every pool of evaluations of pixels."""
    blocks = []
    for note in material.recipe.segmentation_pools:
        rows = judged_pixels(material.segmentation_pools[material.segmentation_pools["pool"] == note.name], note)
        with house_style():
            drawn = draw_pixel_pool(note, rows, gallery)
        said, table = pixel_pool_sentences(rows), pixel_pool_table(note, rows)
        blocks.append({"note": note, "sentences": said, "pictures": drawn, "table": table})
    return blocks


def mlp_probes(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, tables and pictures for every evaluation band by band."""
    blocks = []
    for note in material.recipe.mlp_probes:
        points = band_points(note, material.mlp)
        own, curves = (t[t["evaluation"] == note.name] for t in (material.mlp_differences, material.mlp_curves))
        compared = judged_bands(own, note)
        with house_style():
            drawn = draw_bands(note, largest(points), gallery)
            more = draw_classes(note, largest(points), gallery) + draw_curves_of(note, curves, largest(points), gallery)
            more += _single_bands(material, note, gallery)
        tables = {"table": bands_table(note, points), "scores": bands_scores_table(note, points),
                  "differences": bands_differences_table(f"bands-differences-{note.name}", compared)}  # fmt: skip
        said = bands_sentences(note, points, compared)
        blocks.append({"note": note, "sentences": said, **tables, "pictures": drawn, "classes": more})
    return blocks


def _single_bands(material: Material, note: MlpNote, gallery: Gallery) -> list[Picture]:
    """t-SNE by band, and where encoders see a class, where these were computed."""
    collection, drawn = material.collection(note.collection), list[Picture]()
    if note.name in material.band_projections:
        drawn += draw_band_projections(collection, note, material.band_projections[note.name], gallery)
    if note.name in material.band_attributions:
        drawn += draw_band_attributions(collection, note, material.band_attributions[note.name], gallery)
    return drawn


def mlp_pools_of(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, a picture and a table for every pool of evaluations band by band."""
    blocks = []
    for note in material.recipe.mlp_pools:
        rows = judged_bands(material.mlp_pools[material.mlp_pools["pool"] == note.name], note)
        with house_style():
            drawn = draw_pooled_bands(note, largest(rows), gallery)
        table = bands_differences_table(f"bands-pool-{note.name}", rows, pooled=True)
        blocks.append({"note": note, "sentences": arm_sentences(largest(rows)), "pictures": drawn, "table": table})
    return blocks


def side_by_side(material: Material) -> list[dict[str, Any]]:
    """Sentences, a table, and the table with what was measured, of every evaluation whose encoders have budgets."""
    blocks = []
    for evaluation in material.recipe.evaluations:
        points = curve_points(material.summary, evaluation)
        judged = [e for e in material.encoders if e.note.name in set(points["encoder"])]
        if not any(e.note.budgets for e in judged):
            continue
        gaps = Gaps(material.differences[material.differences["evaluation"] == evaluation.name])
        rows = compared_rows(evaluation, judged, points, gaps, material.compute)
        table = compared_table(evaluation, rows)
        said = compared_sentences(evaluation, judged, rows, gaps)
        cost = with_seconds(table, material.encoders, material.compute)
        note = material.note(evaluation.collection)
        blocks.append({"evaluation": evaluation, "note": note, "sentences": said, "table": table, "cost": cost})
    return blocks


def trainings(material: Material) -> Table:
    """What every training took, and what every evaluation then says of its encoder."""
    recipe = material.recipe
    forests = {e: f"{e.title} ({material.note(e.collection).kind})" for e in recipe.evaluations}
    heads, mlps, pixels = (
        {note.name: f"{note.title} ({note.kind})" for note in notes}
        for notes in (recipe.classifications, recipe.mlp_probes, recipe.segmentations)
    )
    scores = few_shot_scores(material.summary, forests)
    if heads:
        own = material.classes[material.classes["encoder"] == ""]
        scores |= probe_scores(own, heads, "accuracy", "accuracy of its head")
    if mlps:
        own = material.mlp[(material.mlp["init"] == TRAINED) & (material.mlp["group"] == "all")]
        scores |= probe_scores(own[own["view"] == ""], mlps, "f1_macro", "macro F1")
    if pixels:
        own = material.segmentation[material.segmentation["init"] == TRAINED]
        scores |= probe_scores(own[own["stratum"] == ""], pixels, "miou", "mIoU")
    return trainings_table(by_arm(material.encoders), scores)


def pools(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    """Sentences, a picture and a table for every pool of evaluations."""
    blocks = []
    for note in material.recipe.pools:
        rows = judged(material.pooled, note)
        with house_style():
            drawn = draw_pool(note, rows, gallery)
        said = pool_sentences(note, rows)
        blocks.append({"note": note, "sentences": said, "pictures": drawn, "table": pool_table(note, rows)})
    return blocks


def published(material: Material) -> dict[str, Any] | None:
    """Counts of verdicts and both tables of what the papers published; None where the study names no paper."""
    if not material.recipe.papers:
        return None
    cells, claims = material.ledger, material.claim_ledger
    tables = [table for table in (ledger_table(cells), claims_table(claims)) if len(table.frame)]
    return {"sentences": ledger_sentences(cells, claims), "counts": verdict_counts(cells, claims), "tables": tables}


def provenance(material: Material) -> list[dict[str, Any]]:
    """Facts, recipe and card of every encoder."""
    return [
        {
            "note": encoder.note,
            "facts": card_facts(encoder.card),
            "recipe": recipe_table(encoder),
            "seeds": seeds_table(encoder),
            "card": json.dumps(encoder.card, indent=1, sort_keys=True),
        }
        for encoder in by_arm(material.encoders)
    ]


def pictures(material: Material, gallery: Gallery) -> dict[str, Any]:
    """Every section that is made of figures."""
    collections = material.collections
    with house_style():
        return {
            "places": [
                {"note": c.note, "placed": have_places(c.chips), "pictures": draw_maps(c, gallery)} for c in collections
            ],
            "leakage": [_leakage(c, gallery) for c in collections],
            "samples": [picture for c in collections for picture in draw_samples(c, gallery)],
            "training": [_training(material, encoder, gallery) for encoder in by_arm(material.encoders)],
            "fewshot": _fewshot(material, gallery),
            "projections": _projections(material, gallery),
            "quantiles": [picture for c in collections for picture in _quantiles(material, c, gallery)],
        }


def _leakage(collection: Collection, gallery: Gallery) -> dict[str, Any]:
    drawn = draw_leakage(collection.audit, collection.note, gallery)
    said = leakage_sentences(collection.audit, collection.note)
    return {"note": collection.note, "sentences": said, "pictures": drawn}


def _training(material: Material, encoder: TrainedEncoder, gallery: Gallery) -> dict[str, Any]:
    notes = [material.note(name) for name in encoder.card["collections"]]
    drawn = draw_training(encoder, gallery)
    if encoder.note.runs[0] in material.views:
        drawn += draw_views(encoder, material.views[encoder.note.runs[0]], gallery)
    return {"note": encoder.note, "collections": notes, "pictures": drawn}


def _fewshot(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    items = []
    for evaluation in material.recipe.evaluations:
        note, points = material.note(evaluation.collection), curve_points(material.summary, evaluation)
        drawn: list[Picture] = []
        for encoder in material.recipe.encoders:
            own = points[points["encoder"].isin([encoder.name, ""])]
            drawn += draw_curves(evaluation, encoder, note, own, gallery)
        reasons = list(refused(material.summary, evaluation).items())
        items.append({"evaluation": evaluation, "note": note, "refused": reasons, "pictures": drawn})
    return items


def _projections(material: Material, gallery: Gallery) -> list[dict[str, Any]]:
    items, table = [], material.projections
    for encoder in material.encoders:
        for c in material.collections:
            points = table[(table["encoder"] == encoder.note.runs[0]) & (table["collection"] == c.name)]
            if len(points):
                drawn = draw_projections(encoder, c, points, material.tasks(c), gallery)
                drawn += draw_located(encoder, c, points, gallery)
                items.append({"encoder": encoder.note, "note": c.note, "pictures": drawn})
    return items


def _quantiles(material: Material, collection: Collection, gallery: Gallery) -> list[Picture]:
    train = collection.labels[collection.in_split("train")]
    tasks = [define_task(task, train[task].to_numpy(float)) for task in material.tasks(collection)]
    return draw_quantiles(collection, {task.name: task.threshold for task in tasks}, gallery)
