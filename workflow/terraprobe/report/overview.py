"""Tables of the page: collections, labels, what is missing, comparisons and all scores."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from terraprobe.chips.store import MIN_VALID
from terraprobe.modalities import MODALITIES
from terraprobe.probes.episodes import FULL
from terraprobe.probes.tasks import define_task
from terraprobe.report.inputs import SPLITS, Collection, TrainedEncoder
from terraprobe.report.results import RIVAL_TITLES, RIVALS, TRAINED, label_title, mean_gap, size_words
from terraprobe.report.tables import DIFFERENCE, Column, Table, score, share, signed, whole


def collections_table(collections: Sequence[Collection]) -> Table:
    """One row a collection: how many chips and blocks, and how they are split."""
    rows = [
        {
            "collection": c.name,
            "title": c.note.title,
            "data": c.note.kind,
            "chips": len(c.chips),
            "blocks": c.chips["block"].nunique(),
            **{split: int(c.in_split(split).sum()) for split in SPLITS},
            "test_blocks": c.chips.loc[c.in_split("test"), "block"].nunique(),
            "modalities": ", ".join(c.modalities),
            "labels": ", ".join(c.layers),
        }
        for c in collections
    ]
    numbers = [Column(name, name.replace("_", " "), whole, number=True)
               for name in ("chips", "blocks", *SPLITS, "test_blocks")]  # fmt: skip
    columns = (
        Column("title", "collection"), Column("data", "data"), *numbers,
        Column("modalities", "modalities", css="words"), Column("labels", "labels", css="words"),
    )  # fmt: skip
    return Table("collections", "Chips by collection and split; a block is the unit of the intervals.", columns,
                 pd.DataFrame(rows))  # fmt: skip


def encoders_table(encoders: Sequence[TrainedEncoder]) -> Table:
    """One row an arm: what it learnt from.

    Args:
        encoders: the first seed of each arm.
    """
    rows = [
        {
            "encoder": encoder.note.name,
            "title": encoder.note.title,
            "method": encoder.card["method"],
            "data": encoder.note.data,
            "train_chips": encoder.card["chips"]["train"],
            "labels": encoder.card.get("label") or "none",
            "start": ", ".join(encoder.card.get("start", {})) or "random weights",
            "parameters": encoder.card["parameters"]["total"],
        }
        for encoder in encoders
    ]
    columns = (
        Column("title", "encoder", css="words"), Column("method", "method"), Column("data", "trained on", css="words"),
        Column("train_chips", "train chips", whole, number=True), Column("labels", "labels"),
        Column("start", "begun from"), Column("parameters", "parameters", whole, number=True),
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=["encoder", *(column.source for column in columns)])
    return Table("encoders", "What was trained, and on what.", columns, frame)


def labels_table(collections: Sequence[Collection]) -> Table:
    """One row a collection and label: coverage, and the task that its train median poses."""
    rows = []
    for c in collections:
        train = c.in_split("train").to_numpy()
        for name in c.labels:
            values = c.labels[name].to_numpy(np.float64)
            task = define_task(str(name), values[train])
            rows.append(
                {
                    "collection": c.note.title,
                    "data": c.note.kind,
                    "label": name,
                    "labelled_chips": int(np.isfinite(values).sum()),
                    "labelled_share": float(np.isfinite(values).mean()),
                    "train_chips": task.n_train,
                    "threshold": task.threshold,
                    "positive_share": task.positive_share,
                    "task": task.reason or ("balanced" if task.balanced else "unbalanced"),
                }
            )
    columns = (
        Column("collection", "collection"),
        Column("data", "data"),
        Column("label", "label", label_title),
        Column("labelled_chips", "labelled chips", whole, number=True),
        Column("labelled_share", "share", share, number=True),
        Column("train_chips", "labelled train chips", whole, number=True),
        Column("threshold", "train median", "{:.3g}".format, number=True),
        Column("positive_share", "above it (train)", share, number=True),
        Column("task", "task", css="words"),
    )
    frame = pd.DataFrame(rows, columns=[column.source for column in columns])
    return Table("labels", "Label coverage and the tasks that the train medians pose.", columns, frame)


def missing_table(collections: Sequence[Collection]) -> Table:
    """One row a collection and layer: chips that have it, and channels on average."""
    rows = []
    for c in collections:
        for kind, stores in (("modality", c.modalities), ("label layer", c.layers)):
            for name, store in stores.items():
                # a channel needs enough pixels to be looked at; one labelled pixel is a label
                usable = (store.valid >= MIN_VALID if kind == "modality" else store.valid > 0).sum(axis=1)
                # where the number of channels varies, those beyond a chip's own are not missing from it
                expected = (store.valid > 0).sum(axis=1) if store.layer.variable else store.channels
                due = store.valid[store.valid > 0] if store.layer.variable else store.valid
                label = store.label_layer
                title = label.title if label else MODALITIES[name].title
                rows.append(
                    {
                        "collection": c.note.title,
                        "data": c.note.kind,
                        "layer": name,
                        "title": title,
                        "kind": kind,
                        "chips": len(store),
                        "missing": int((usable == 0).sum()),
                        "incomplete": int(((usable > 0) & (usable < expected)).sum()),
                        "channels": store.channels,
                        "mean_channels": float(usable.mean()),
                        "observed": float(due.mean()),
                    }
                )
    columns = (
        Column("collection", "collection"),
        Column("data", "data"),
        Column("title", "layer"),
        Column("kind", "kind"),
        Column("chips", "chips", whole, number=True),
        Column("missing", "without it", whole, number=True),
        Column("incomplete", "with some channels", whole, number=True),
        Column("channels", "channels", whole, number=True),
        Column("mean_channels", "mean a chip", "{:.2f}".format, number=True),
        Column("observed", "pixels observed", share, number=True),
    )
    return Table("missing", "Chips that lack a modality, a channel or a label.", columns, pd.DataFrame(rows))


def recipe_table(encoder: TrainedEncoder) -> Table:
    """The values an encoder was trained with, and where each comes from."""
    sources = encoder.card["recipe_sources"]
    rows = [
        {
            "key": key,
            "value": json.dumps(value) if isinstance(value, dict | list) else str(value),
            "mark": sources.get(key, {}).get("mark", ""),
            "source": sources.get(key, {}).get("source", ""),
        }
        for key, value in encoder.card["recipe"].items()
    ]
    columns = (
        Column("key", "key"), Column("value", "value", css="words"), Column("mark", "mark"),
        Column("source", "where it comes from", css="words"),
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.source for column in columns])
    caption = "P stated in the paper, C read from code, I inferred, D our own choice: C, I and D leave the paper."
    return Table(f"recipe-{encoder.note.name}", caption, columns, frame)


def seeds_table(encoder: TrainedEncoder) -> Table | None:
    """How training ended with each seed and on each collection; None where there is one encoder."""
    if len(encoder.cards) == 1:
        return None
    rows = [
        {
            "encoder": run,
            "seed": card["seed"],
            "epoch": card["best_epoch"],
            "val_loss": card["best_val_loss"],
            "train_loss": history["loss"].iloc[-1],
            "embedding_std": history["embedding_std"].iloc[-1],
        }
        for run, card, history in zip(encoder.note.runs, encoder.cards, encoder.histories, strict=True)
    ]
    columns = (
        Column("encoder", "encoder"),
        Column("seed", "seed", whole, number=True),
        Column("epoch", "kept epoch", whole, number=True),
        Column("val_loss", "its validation loss", score, number=True),
        Column("train_loss", "last train loss", score, number=True),
        Column("embedding_std", "last spread", score, number=True),
    )
    caption = "Every encoder. Pictures of training and of the embeddings show the first; scores stand on all of them."
    return Table(f"seeds-{encoder.note.name}", caption, columns, pd.DataFrame(rows))


def headline_table(name: str, rows: pd.DataFrame, kind: str, gaps: pd.DataFrame) -> Table | None:
    """Paired differences of one encoder from each rival, with optimism gaps; None where there are none.

    Args:
        name: of evaluation and encoder.
        rows: of a `results.Headline`.
        kind: `real` or `simulated`.
        gaps: optimism gaps of the evaluation, of `gather_scores`.
    """
    if not len(rows):
        return None
    order = {rival: k for k, rival in enumerate(RIVALS)}
    known = rows[rows["rival"].isin(RIVALS)]
    known = known.sort_values(["task", "rival"], key=lambda s: s.map(order) if s.name == "rival" else s)
    records = known.to_dict("records")
    known = known.assign(
        rival_title=known["rival"].map(RIVAL_TITLES),
        data=kind,
        gap=[mean_gap(gaps, r["task"], r["encoder"], TRAINED, r["modality"]) for r in records],
        rival_gap=[mean_gap(gaps, r["task"], r["rival_encoder"], r["rival"], r["rival_modality"]) for r in records],
    )
    columns = (
        Column("task", "task", label_title),
        Column("data", "data"),
        Column("n_shots", "labels", lambda n: size_words(int(n)).removesuffix(" labels")),
        Column("value", "trained", score, number=True),
        Column("rival_title", "against"),
        Column("rival_value", "its score", score, number=True),
        *DIFFERENCE,
        Column("verdict", "verdict", css="@value"),
        Column("gap", "optimism gap", signed, number=True),
        Column("rival_gap", "its gap", signed, number=True),
    )
    caption = (
        "Paired differences over test blocks with 95 % intervals; p corrected over the comparisons of this size. "
        "Optimism gap: what a random split of the same chips would have added to the score with all labels."
    )
    return Table(f"headline-{name}", caption, columns, known)


def scores_table(summary: pd.DataFrame, kinds: dict[str, str]) -> Table:
    """Every summarised score.

    Args:
        summary: of `gather_scores`.
        kinds: `real` or `simulated` by collection.
    """
    frame = summary.assign(
        data=summary["collection"].map(kinds),
        features=summary["arm"].where(summary["arm"] != "floor", summary["floor"]),
        judges=np.where(summary["primary"], "yes", "no"),
    )
    frame = frame.assign(n_labels=frame["n_shots"].where(frame["n_shots"] != FULL, np.iinfo(np.int64).max))
    frame = frame.sort_values(["evaluation", "task", "judges", "n_labels", "value"],
                              ascending=[True, True, False, True, False], kind="stable")  # fmt: skip
    columns = (
        Column("evaluation", "evaluation", filter=True),
        Column("data", "data", filter=True),
        Column("task", "task", filter=True),
        Column("n_shots", "labels", lambda n: size_words(int(n)).removesuffix(" labels"), filter=True),
        Column("encoder", "encoder", filter=True),
        Column("features", "features", lambda name: RIVAL_TITLES.get(name, name), filter=True),
        Column("modality", "modality", filter=True),
        Column("metric", "metric", lambda name: name.replace("_", " "), filter=True),
        Column("judges", "judges the task", filter=True),
        Column("value", "value", score, number=True),
        Column("low", "from", score, number=True),
        Column("high", "to", score, number=True),
        Column("n_forests", "forests", whole, number=True),
        Column("n_train", "train chips", whole, number=True),
        Column("n_test", "test chips", whole, number=True),
        Column("n_blocks", "test blocks", whole, number=True),
        Column("note", "note", css="words"),
    )
    return Table("scores", "Every summarised score.", columns, frame.drop(columns="n_labels"), live=True)
