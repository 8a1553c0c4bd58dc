"""Everything that the page is made of, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.notes import CollectionNote, ReportRecipe

Archive = Mapping[str, NDArray[Any]]
"""Arrays of a NumPy archive."""


@dataclass(frozen=True)
class Material:
    """Everything the page is made of.

    Attributes:
        recipe: what the study says about itself.
        ledger: of `write_ledger`.
        claim_ledger: of `write_ledger`.
        collections: in the recipe's order.
        encoders: in the recipe's order.
        summary: of `gather_scores`.
        differences: of `gather_scores`.
        pooled: of `gather_scores`.
        projections: of `project_embeddings`.
        optimism: of `gather_scores`.
        classes: of `score_classes`, of every evaluation of supervised encoders.
        class_differences: of `score_classes`.
        class_regions: of `score_classes`.
        class_pools: of `pool_classes`.
        attributions: of `attribute_classes`, by evaluation.
        reconstruction: scores of `score_reconstruction`, of every evaluation of autoencoders.
        reconstruction_differences: of `score_reconstruction`.
        images: of `reconstruct_chips`, by evaluation and encoder.
        segmentation: scores of `score_segmentation`, of every evaluation of pixels.
        segmentation_classes: classes of `score_segmentation`.
        segmentation_differences: differences of `score_segmentation`.
        segmentation_pools: of `pool_segmentation`.
        pixel_maps: of `segment_chips`, by evaluation and encoder.
        mlp: scores of `score_mlp`, of every evaluation by MLPs.
        mlp_differences: of `score_mlp`.
        mlp_curves: of `score_mlp`.
        mlp_pools: of `pool_mlp`.
        band_attributions: of `attribute_bands`, by evaluation.
        band_projections: of `project_bands`, by evaluation.
        views: of `augment_chips`, by encoder.
        compute: of `count_compute`.
    """

    recipe: ReportRecipe
    ledger: pd.DataFrame
    claim_ledger: pd.DataFrame
    collections: Sequence[Collection]
    encoders: Sequence[TrainedEncoder]
    summary: pd.DataFrame
    differences: pd.DataFrame
    pooled: pd.DataFrame
    projections: pd.DataFrame
    optimism: pd.DataFrame
    classes: pd.DataFrame
    class_differences: pd.DataFrame
    class_regions: pd.DataFrame
    class_pools: pd.DataFrame
    attributions: Mapping[str, Archive]
    reconstruction: pd.DataFrame
    reconstruction_differences: pd.DataFrame
    images: Mapping[str, Mapping[str, Archive]]
    segmentation: pd.DataFrame
    segmentation_classes: pd.DataFrame
    segmentation_differences: pd.DataFrame
    segmentation_pools: pd.DataFrame
    pixel_maps: Mapping[str, Mapping[str, Archive]]
    mlp: pd.DataFrame
    mlp_differences: pd.DataFrame
    mlp_curves: pd.DataFrame
    mlp_pools: pd.DataFrame
    band_attributions: Mapping[str, Archive]
    band_projections: Mapping[str, pd.DataFrame]
    views: Mapping[str, Archive]
    compute: pd.DataFrame

    def note(self, collection: str) -> CollectionNote:
        """What the study says about a collection."""
        return next(note for note in self.recipe.collections if note.name == collection)

    def collection(self, name: str) -> Collection:
        """The collection of that name."""
        return next(c for c in self.collections if c.name == name)

    def tasks(self, collection: Collection) -> list[str]:
        """Tasks that are scored on a collection, in the order of its labels."""
        names = {e.name for e in self.recipe.evaluations if e.collection == collection.name}
        known = self.summary[self.summary["value"].notna()]
        scored = set(known.loc[known["evaluation"].isin(names), "task"])
        return [str(name) for name in collection.labels if name in scored]
