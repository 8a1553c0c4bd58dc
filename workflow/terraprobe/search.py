"""`terraprobe search`: the chips that lie nearest to one in embedding space."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_table
from terraprobe.collections.chiptable import EARTH_RADIUS_M, chip_centres, have_places, number_labels, unit_sphere
from terraprobe.errors import TerraprobeError
from terraprobe.towers import CONCAT

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_NAMES = 5


def cosine_to(one: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of the angle between one embedding and each of others.

    Args:
        one: (D,).
        others: (N, D).

    Returns:
        (N,), 0 where a vector has no length.
    """
    a, b = one.astype(np.float64), others.astype(np.float64)
    length = np.linalg.norm(b, axis=1) * np.linalg.norm(a)
    cosines: NDArray[np.float64] = np.divide(b @ a, length, out=np.zeros(len(b)), where=length > 0)
    return cosines


def nearest_chips(path: Path, chip: str, k: int, modality: str = "") -> "pd.DataFrame":
    """The chips most like one.

    Args:
        path: `embeddings/<encoder>/<collection>.parquet`.
        chip: id of the one.
        k: how many.
        modality: tower, or `concat`; empty: `concat` where the chip has it, else its first tower.

    Returns:
        `chip_id, cosine` (highest first, of equals the lower id), `lon, lat` of the centres in degrees, `distance_km`
        over ground from the chip, `split`, `modality`. The chip itself is left out. Where chips have no place neither
        `lon` nor `lat` nor `distance_km`.

    Raises:
        TerraprobeError: the chip has no embedding there, or none of that modality.
    """
    frame = read_table(path)
    frame = frame[frame["init"] == "trained"]
    own = frame[frame["chip_id"] == chip]
    if not len(own):
        raise unknown_chip(path, chip, sorted(set(frame["chip_id"])))
    held = list(own["modality"])
    chosen = modality or (CONCAT if CONCAT in held else held[0])
    if chosen not in held:
        raise TerraprobeError(f"{path}: modality of {chip}: found {chosen!r}, allowed {', '.join(held)}.")
    rows = frame[frame["modality"] == chosen].sort_values("chip_id", ignore_index=True)
    here = rows["chip_id"] == chip
    vectors = np.stack(rows["embedding"].to_numpy())
    cosine = cosine_to(vectors[here.to_numpy()][0], vectors)
    found: pd.DataFrame = rows[["chip_id", "split", "modality"]].assign(cosine=cosine, **_ground(rows, here.to_numpy()))
    found = found[~here].sort_values("cosine", ascending=False, kind="stable", ignore_index=True)
    return found.head(k)


def _ground(rows: Any, here: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Where chips are, and how far over ground from one of them; nothing where nobody knows."""
    if not have_places(rows):
        return {}
    lon, lat = chip_centres(rows)
    places = unit_sphere(lon, lat)
    chord = np.linalg.norm(places - places[here], axis=1)
    return {"lon": lon, "lat": lat, "distance_km": 2 * EARTH_RADIUS_M / 1000 * np.arcsin(np.clip(chord / 2, 0, 1))}


def unknown_chip(where: Path, chip: str, known: Sequence[str]) -> TerraprobeError:
    """What is said of a chip that is not there: the names nearest to it."""
    near = get_close_matches(chip, known, _SHOWN_NAMES, 0) or list(known[:_SHOWN_NAMES])
    return TerraprobeError(f"{where}: chip: found {chip!r}, allowed one of {len(known):,}; nearest {', '.join(near)}.")


def find_embeddings(results: Path, chip: str, collection: str = "", encoder: str = "") -> Path:
    """The table to search: of the given collection and encoder, else the first that holds the chip.

    Raises:
        TerraprobeError: there is no such table, or no collection has the chip.
    """
    tables = sorted(results.glob("embeddings/*/*.parquet"))
    if not tables:
        raise TerraprobeError(f"{results}: no embeddings. Give the results of a study that has run.")
    for key, wanted, names in (
        ("collection", collection, [path.stem for path in tables]),
        ("encoder", encoder, [p.parent.name for p in tables if collection in ("", p.stem)]),
    ):
        if wanted and wanted not in names:
            raise TerraprobeError(f"{results}: {key}: found {wanted!r}, allowed {', '.join(dict.fromkeys(names))}.")
    tables = [p for p in tables if collection in ("", p.stem) and encoder in ("", p.parent.name)]
    known: dict[str, set[str]] = {}
    for path in tables:
        if path.stem not in known:
            known[path.stem] = set(read_table(results / f"collections/{path.stem}/chips.parquet")["chip_id"])
        if chip in known[path.stem]:
            return path
    raise unknown_chip(results, chip, sorted(set().union(*known.values())))


def labels_of(results: Path, collection: str, chips: Sequence[str]) -> list[str]:
    """Labels of chips in words: their classes, or else their numbers; empty where nothing is known."""
    path = results / f"collections/{collection}/labels.parquet"
    if not path.is_file():
        return [""] * len(chips)
    table = read_table(path).set_index("chip_id").reindex(list(chips))
    texts = [str(c) for c in table.select_dtypes(exclude="number")]
    columns = texts or number_labels(table)
    return [", ".join(_label(name, value) for name, value in row.items() if _known(value))
            for row in table[columns].to_dict("records")]  # fmt: skip


def _known(value: Any) -> bool:
    return value is not None and value == value and value != ""  # noqa: PLR0124 (NaN differs from itself)


def _label(name: Any, value: Any) -> str:
    return f"{name} {value:.2g}" if isinstance(value, float) else str(value)


def search_command(argv: Sequence[str]) -> int:
    """`terraprobe search RESULTS --chip ID [--collection C] [--encoder E] [--modality M] [--k N]`."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="terraprobe search", description="The chips most like one, by the cosine of their embeddings."
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results of a study, such as results/quickstart")
    parser.add_argument("--chip", required=True, metavar="ID")
    parser.add_argument("--collection", default="", metavar="NAME", help="the first that has the chip")
    parser.add_argument("--encoder", default="", metavar="NAME", help="the first that embeds it")
    parser.add_argument("--modality", default="", metavar="NAME", help="tower, or concat (where there is one)")
    parser.add_argument("--k", type=int, default=10, metavar="N", help="how many (10)")
    given = parser.parse_args(argv)
    if given.k < 1:
        raise TerraprobeError(f"--k: found {given.k}, allowed 1 or more.")
    path = find_embeddings(given.results, given.chip, given.collection, given.encoder)
    found = nearest_chips(path, given.chip, given.k, given.modality)
    _print(given.results, given.chip, path, found)
    return 0


def _print(results: Path, chip: str, path: Path, found: "pd.DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table

    named = found["modality"].iloc[0] if len(found) else ""
    own = labels_of(results, path.stem, [chip])[0]
    print(f"{chip} ({own or 'no label'}) in {path.stem}, by {path.parent.name}, {named}; its nearest:")
    places = {"lon": ".5f", "lat": ".5f", "distance_km": ".1f"} if "lon" in found else {}
    heads = ["lon", "lat", "km away"] if places else []
    table = Table("chip", "cosine", *heads, "split", "labels", box=None)
    labels = labels_of(results, path.stem, list(found["chip_id"]))
    for row, words in zip(found.to_dict("records"), labels, strict=True):
        ground = [format(row[name], form) for name, form in places.items()]
        table.add_row(row["chip_id"], f"{row['cosine']:.4f}", *ground, row["split"], words)
    # A pipe has no width of its own: nothing is cut there.
    Console(width=None if Console().is_terminal else 200).print(table)
