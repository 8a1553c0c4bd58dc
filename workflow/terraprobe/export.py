"""`terraprobe export`: an encoder and its embeddings as a folder that can be given to others."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from terraprobe.artifacts import read_json, read_table, sha256_file, table_metadata, write_bytes, write_table
from terraprobe.errors import TerraprobeError

CARD, WEIGHTS = "card.json", "encoder.safetensors"


def export_encoder(results: Path, name: str, output: Path) -> list[str]:
    """Write weights, card and embeddings of one encoder; all of the folder or nothing.

    Args:
        results: of a study.
        name: of the encoder's folder; of several seeds one.
        output: a folder that does not exist yet: `encoder.safetensors`, `card.json` (bands, units and normalisation
            sealed in), `README.md` for people, and `embeddings/<collection>.parquet`, GeoParquet of the trained
            encoder alone, without its untrained twins.

    Returns:
        Names of the files.

    Raises:
        TerraprobeError: there is no such encoder, its embeddings were made with other weights, or the output is there
            already.
    """
    folder = find_encoder(results, name)
    if output.exists():
        raise TerraprobeError(f"{output}: is there already, and nothing is overwritten. Give a folder that is not.")
    card, identity = read_json(folder / CARD), sha256_file(folder / WEIGHTS)
    tables = sorted(results.glob(f"embeddings/{name}/*.parquet"))
    for path in tables:
        made_with = table_metadata(path).get("encoder_sha256")
        if made_with != identity:
            raise TerraprobeError(
                f"{path}: made with other weights than {folder / WEIGHTS} holds. Run Snakemake again, then export."
            )
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for file in (CARD, WEIGHTS):
            shutil.copyfile(folder / file, part / file)
        counts = {path.stem: _embeddings(path, part / "embeddings" / path.name) for path in tables}
        write_bytes(part / "README.md", read_me(name, card, counts).encode())
        part.rename(output)
    except OSError as error:
        raise TerraprobeError(f"{output}: cannot be written ({error.strerror}). Nothing was kept.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())


def find_encoder(results: Path, name: str) -> Path:
    """Folder of an encoder.

    Raises:
        TerraprobeError: there is none of that name.
    """
    folder = results / "encoders" / name
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        known = sorted(path.parent.name for path in results.glob(f"encoders/*/{CARD}"))
        found = f"allowed {', '.join(known)}" if known else "there is none; give the results of a study that has run"
        raise TerraprobeError(f"{results}: encoder: found {name!r}, {found}.")
    return folder


def _embeddings(path: Path, out: Path) -> int:
    """Rows of the trained encoder; gives how many chips they are of."""
    frame = read_table(path)
    own = frame[frame["init"] == "trained"].drop(columns="init").reset_index(drop=True)
    meta = table_metadata(path)
    write_table(out, own, {key: meta[key] for key in ("encoder", "encoder_sha256") if key in meta})
    return int(own["chip_id"].nunique())


def read_me(name: str, card: dict[str, Any], embeddings: dict[str, int]) -> str:
    """The card for people, in Markdown.

    Args:
        name: of the encoder.
        card: `card.json`.
        embeddings: collection to its number of chips.
    """
    lines = [
        f"# {name}",
        "",
        f"Made by terraprobe's method `{card['method']}` on {', '.join(card['collections'])}: "
        f"{card['chips']['train']:,} train chips of {card['chip_px']} px at 10 m, seed {card['seed']}, "
        f"{card['parameters']['total']:,} parameters.",
        "",
        "`encoder.safetensors` holds the weights, `card.json` all that is needed to use them.",
        "",
        "## What enters",
    ]
    for tower, takes in card["towers"].items():
        scaling = {key: value for key, value in takes.items() if key not in ("modality", "bands", "unit")}
        lines += ["", f"Tower `{tower}`: {takes['modality']} ({takes['unit']}), bands {', '.join(takes['bands'])}.", "",
                  "```json", json.dumps(scaling, indent=1, sort_keys=True), "```"]  # fmt: skip
    lines += ["", "## Embeddings", ""]
    lines += [f"- `embeddings/{c}.parquet`: GeoParquet, {n:,} chips" for c, n in embeddings.items()] or ["None."]
    lines += ["", "## Use", "", "```python", "from pathlib import Path", "", "from terraprobe.encoders import Encoder",
              "", 'encoder = Encoder.load(Path("."))  # this folder', "```", ""]  # fmt: skip
    return "\n".join(lines)


def export_command(argv: Sequence[str]) -> int:
    """`terraprobe export RESULTS --encoder NAME --output DIR`."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="terraprobe export",
        description="Write an encoder (safetensors, card) and its embeddings (GeoParquet) into a new folder.",
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results of a study, such as results/quickstart")
    parser.add_argument("--encoder", required=True, metavar="NAME", help="name of its folder; of several seeds one")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="a folder that does not exist yet")
    given = parser.parse_args(argv)
    for file in export_encoder(given.results, given.encoder, given.output):
        print(given.output / file)
    return 0
