"""Features of test chips in pictures: what encoders give for every place before anything is pooled or learnt."""

from collections.abc import Mapping, Sequence

from terraprobe.report.chipviews import Row, colours, draw_rows, limits, rows_of, shared_chips, view
from terraprobe.report.drawing import Gallery, Picture
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.maps import stretch
from terraprobe.report.notes import SegmentationNote
from terraprobe.report.segmentationpictures import N_CHIPS, Archive


def draw_features(
    collection: Collection,
    note: SegmentationNote,
    encoders: Sequence[TrainedEncoder],
    found: Mapping[str, Archive],
    gallery: Gallery,
) -> list[Picture]:
    """A few test chips and the last features of each encoder; no picture of encoders that are fine-tuned.

    Args:
        collection: whose test chips.
        note: the evaluation.
        encoders: that it judges.
        found: of the first run of each, by the name of its folder.
        gallery: for the figure.
    """
    given = {e.note.name: found[e.note.runs[0]] for e in encoders}
    given = {name: one for name, one in given.items() if len(one["features"])}
    if not given:
        return []
    chips = shared_chips(given.values())[:N_CHIPS]
    if not chips:
        return []
    store, channels, words = view(collection)
    pixels = colours(store, rows_of(collection, chips), channels)
    rows = [Row(words, list(stretch(pixels, limits(pixels))))]
    for name, one in given.items():
        place = {chip: k for k, chip in enumerate(one["chip_ids"].tolist())}
        tower, band = one["best"].tolist()
        rows.append(Row(f"{name}, {band or tower}", list(one["features"][[place[chip] for chip in chips]])))
    figure = draw_rows(rows, f"Features of test chips ({collection.note.title}, {note.kind})")
    alt = f"Last features of {len(chips)} test chips of {collection.note.title} as colours; rows: {', '.join(given)}."
    caption = (
        f"Last features of each encoder on {len(chips)} test chips of {collection.note.title} ({note.kind}), before "
        "anything was learnt from labels: the first three principal components over all places of these and a few more "
        "test chips as red, green and blue. Compare colours along a row, not between rows. Each column is one chip."
    )
    return [gallery.add(f"segmentation-{note.name}-features", figure, alt, caption)]
