"""Several studies as one: `studies` lists their files; what cannot run here is left out, and why is kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from terraprobe.acquire.credentials import missing_credentials
from terraprobe.archives import ARCHIVES
from terraprobe.errors import TerraprobeError
from terraprobe.methods import METHODS, load_method
from terraprobe.stage import Recipe
from terraprobe.study.each import spread_entries
from terraprobe.study.names import Name
from terraprobe.study.own import ArchiveCollection

LISTS = ("collections", "encoders", "evaluations", "pools")
_ONE, _SEVERAL = ("collection", "start", "arm", "reference"), ("collections", "train_on", "encoders", "evaluations")


class StudyList(Recipe):
    """Several studies as one.

    Attributes:
        study: name of the one that is made: results land in `results/<study>/`.
        title: for the report.
        studies: their files, absolute or relative to the folder that Snakemake runs in. Every name in them gets the
            name of its study in front, and encoders see the collections of their own study alone.
        strict: whether the run stops where files, weights or credentials are missing; else what needs them is left out,
            and the ledger says why.
        papers: whose published numbers and claims the report sets beside them.
        embedding_channels: `mean` or `random`, for all of them.
        random_inits: how many untrained twins stand beside each encoder, for all of them.
        tsne_chips: at most so many chips in a t-SNE picture.
    """

    study: Name
    title: str = ""
    studies: list[str] = Field(min_length=1)
    strict: bool = False
    papers: list[str] = []
    embedding_channels: str = "mean"
    random_inits: int = 3
    tsne_chips: int = 2000


def put_together(listed: StudyList, studies: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make one study of several.

    What needs files or credentials that are not here is left out, with all that needs it.

    Args:
        listed: the list.
        studies: file and content of each study of it.

    Returns:
        A study's content; `left_out` says by study what is not in it and why.

    Raises:
        TerraprobeError: two studies have one name, `strict` is true and something is left out, or nothing is left and
            no paper is named whose numbers a page could still show.
    """
    made = {**listed.model_dump(exclude={"studies", "strict"}), **{key: [] for key in LISTS}}
    left_out: dict[str, list[str]] = {}
    for file, study in studies:
        named = study.get("study") if isinstance(study, dict) else None
        if not isinstance(named, str) or named in left_out:
            raise TerraprobeError(f"{file}: found study {named!r}, allowed a name that no other study of the list has.")
        part, left_out[named] = _available(_spread(study, file))
        for key in LISTS:
            made[key] += [_renamed(entry, named, listed.study) for entry in part[key]]
    told = [f"{name}: {reason}" for name, reasons in left_out.items() for reason in reasons]
    if told and listed.strict:
        raise TerraprobeError("strict: these cannot run here:\n  " + "\n  ".join(told))
    if not made["evaluations"] and not listed.papers:
        raise TerraprobeError("studies: none of them can run here:\n  " + "\n  ".join(told))
    return {**made, "left_out": {name: reasons for name, reasons in left_out.items() if reasons}}


def _spread(study: Mapping[str, Any], file: str) -> dict[str, Any]:
    try:
        spread = spread_entries(dict(study))
    except ValueError as error:
        raise TerraprobeError(f"{file}: {error}") from error
    return {key: [e for e in spread.get(key) or [] if isinstance(e, dict)] for key in LISTS}


def _available(study: Mapping[str, list[Any]]) -> tuple[dict[str, list[Any]], list[str]]:
    """What can run here, and why the rest cannot."""
    reasons = {c["name"]: why for c in study["collections"] if (why := missing_for(c))}
    lost = {f"collection {name}" for name in reasons}
    told = [
        f"{', '.join(name for name, own in reasons.items() if own == why)}: {why}"
        for why in dict.fromkeys(reasons.values())
    ]
    encoders = {e["name"]: e for e in study["encoders"]}
    while True:
        gone = [name for name, e in encoders.items() if _needs(e, study["encoders"]) & lost or _weights_absent(e)]
        if not gone:
            break
        told += [f"{name}: {_weights_absent(encoders[name])}" for name in gone if _weights_absent(encoders[name])]
        lost |= {f"encoder {name}" for name in gone}
        encoders = {name: e for name, e in encoders.items() if name not in gone}
    evaluations = [left for e in study["evaluations"] if (left := _left_of(e, lost, list(encoders.values())))]
    names = {e["name"] for e in evaluations}
    pools = [p for p in study["pools"] if set(p["evaluations"]) <= names]
    read = {c for e in [*encoders.values(), *evaluations] for c in _collections(e)}
    collections = [c for c in study["collections"] if c["name"] in read and c["name"] not in reasons]
    left = {"collections": collections, "encoders": list(encoders.values()), "evaluations": evaluations, "pools": pools}
    return left, told


def missing_for(collection: Mapping[str, Any]) -> str:
    """Why a collection cannot be had here: files of an archive, or credentials; empty where nothing is missing."""
    if collection.get("kind") == "area":
        layers = [*collection.get("modalities", []), *collection.get("labels", [])]
        return " ".join(missing_credentials(layers))
    if collection.get("kind") == "archive" and collection.get("archive") in ARCHIVES:
        absent = "; ".join(ArchiveCollection.model_construct(**collection).absent())
        return absent.replace(f"{Path.cwd()}/", "")  # the ledger is equal wherever the project lies
    return ""


def _collections(entry: Mapping[str, Any]) -> set[str]:
    one = [entry["collection"]] if "collection" in entry else []
    return {*one, *entry.get("collections", []), *entry.get("train_on", [])}


def _needs(encoder: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> set[str]:
    """What an encoder cannot be trained without."""
    needed = {f"collection {name}" for name in _collections(encoder)}
    if encoder.get("start"):
        needed.add(f"encoder {encoder['start']}")
    parts = Path(_file(encoder)).parts
    if parts[:1] == ("results",) and len(parts) > 3:
        needed |= {f"encoder {e['name']}" for e in others if parts[3] in _members(e)}
    return needed


def _members(encoder: Mapping[str, Any]) -> list[str]:
    name, seeds = encoder["name"], encoder.get("seeds", [])
    return [f"{name}_s{seed}" for seed in seeds] or [name]


def _file(encoder: Mapping[str, Any]) -> str:
    return str((encoder.get("weights") or {}).get("file", ""))


def _weights_absent(encoder: Mapping[str, Any]) -> str:
    """That its file of published weights is absent; empty where it is there, or is made by the study."""
    file = _file(encoder)
    if not file or Path(file).parts[:1] == ("results",) or Path(file).expanduser().exists():
        return ""
    return f"weights {file} are absent; download and put them there"


def _left_of(
    evaluation: dict[str, Any], lost: set[str], encoders: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """An evaluation without encoders that are lost; None where its collections are, or no encoder is left."""
    if any(f"collection {name}" in lost for name in _collections(evaluation)):
        return None
    if f"encoder {evaluation.get('reference')}" in lost:
        evaluation = {**evaluation, "reference": ""}
    named = evaluation.get("encoders", "all")
    if named == "all":
        return evaluation if any(_judged(e, evaluation) for e in encoders) else None
    left = [name for name in named if f"encoder {name}" not in lost]
    return {**evaluation, "encoders": left} if left else None


def _judged(encoder: Mapping[str, Any], evaluation: Mapping[str, Any]) -> bool:
    """Whether `all` may mean an encoder: heads judge those that learnt the label, reconstruction autoencoders."""
    if encoder.get("method") not in METHODS:
        return True
    method, probe = load_method(encoder["method"]), evaluation.get("probe")
    if probe == "classifier":
        learnt = encoder.get("label") == evaluation.get("label")
        return learnt and evaluation.get("collection") in encoder.get("collections", [])
    return not method.supervised and (probe != "reconstruction" or method.autoencoder)


def _renamed(entry: Mapping[str, Any], study: str, made: str) -> dict[str, Any]:
    """An entry of a study under names that begin with the study's."""
    new: dict[str, Any] = {**entry, "name": f"{study}_{entry['name']}"}
    for key in _ONE:
        if new.get(key):
            new[key] = f"{study}_{new[key]}"
    for key in _SEVERAL:
        if isinstance(new.get(key), list):
            new[key] = [f"{study}_{name}" for name in new[key]]
    if "kind" in entry or "method" in entry:
        new["group"] = study
    own = f"results/{study}/encoders/"
    if _file(entry).startswith(own):
        moved = _file(entry).replace(own, f"results/{made}/encoders/{study}_", 1)
        new["weights"] = {**entry["weights"], "file": moved}
    return new
