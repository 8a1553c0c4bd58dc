"""What the documentation says is what the code says."""

import inspect
import re

import pytest

from terraprobe import study
from terraprobe.acquire.simulated.world import SimulatedWorld
from terraprobe.classmap import ClassMap
from terraprobe.collections.leakage import LeakageLimit
from terraprobe.collections.split_rules import Blocks, Geobands, Hashed, Official, Shares, Stratified
from terraprobe.describe import describe
from terraprobe.methods import METHODS
from terraprobe.study.encoders import PublishedWeights
from terraprobe.study.together import StudyList

MODELS = {
    "The study": [study.Study],
    "A list of studies": [StudyList],
    "collections": [
        study.SceneCollection,
        study.SimulatedCollection,
        study.FolderCollection,
        study.ArchiveCollection,
        study.AreaCollection,
    ],
    "collections: classes": [ClassMap],
    "collections: split": [Geobands, Stratified, Blocks, Official, Hashed, Shares],
    "collections: leakage_limit": [LeakageLimit],
    "collections: world": [SimulatedWorld],
    "encoders": [study.EncoderEntry],
    "encoders: weights": [PublishedWeights],
    "evaluations": [study.Evaluation, study.Classification, study.Reconstruction, study.Segmentation, study.MlpProbe],
    "pools": [study.Pool],
}
"""Sections of docs/study.md."""


def documented(model):
    """Key to description, from the docstring and its parents'."""
    text = "\n".join(inspect.getdoc(c) or "" for c in reversed(model.__mro__) if hasattr(c, "model_fields"))
    rows = re.findall(r"^    (\w+): ((?:.|\n        )+)", text, re.MULTILINE)
    return {key: " ".join(words.split()) for key, words in rows if key in model.model_fields}


def default(field):
    """A key's default as YAML shows it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "model_dump"):
        return ", ".join(f"{k}: {v}" for k, v in value.model_dump().items())
    return "none" if value in ("", [], {}) else str(value).replace("'", "")


def study_page():
    """docs/study.md, from the models."""
    parts = [
        "# Study files, key by key\n\n"
        "A study is YAML: `terraprobe check-study FILE` checks one. Unknown keys are refused. This page is made of\n"
        "the models' own docstrings by `tests/test_docs.py`, which fails where they differ.\n"
    ]
    for section, models in MODELS.items():
        parts.append(f"\n## {section}\n")
        for model in models:
            parts.append(
                f"\n{inspect.getdoc(model).splitlines()[0]}\n\n| key | default | what it is |\n|---|---|---|\n"
            )
            words = documented(model)
            parts += [f"| `{k}` | {default(f)} | {words[k]} |\n" for k, f in model.model_fields.items()]
    parts.append("\nA method's recipe: `terraprobe describe METHOD`.\n")
    return "".join(parts)


def test_the_page_on_study_files_is_what_the_models_say(repository):
    assert (repository / "docs/study.md").read_text() == study_page()


@pytest.mark.parametrize("model", [m for models in MODELS.values() for m in models])
def test_every_key_is_documented(model):
    assert set(documented(model)) == set(model.model_fields)


@pytest.mark.parametrize("method", METHODS)
def test_every_deviation_of_a_method_is_in_its_section_of_the_docs(repository, method):
    sections = re.split(r"^## ", (repository / "docs/methods.md").read_text(), flags=re.MULTILINE)
    (text,) = [section for section in sections if f"`{method}`" in section.partition("\n")[0]]
    rows = describe(method, {})["deviations"]
    assert len(rows) > 10
    for row in rows:
        assert f"| {row['what']} | {row['value']} | {row['mark']} | {row['source']} |" in text


def test_linked_files_exist(repository):
    for page in [repository / "README.md", *(repository / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_every_table_and_figure_of_the_papers_names_files_that_the_report_writes(repository):
    """Each name in the table is, but for what stands in angle brackets, a name in the report's code."""
    section = (repository / "docs/methods.md").read_text().split("### Where each table and figure")[1].split("\n#")[0]
    names = [
        name for line in section.splitlines() if line.startswith("|") for name in re.findall(r"`([a-z]+-<.*?>?)`", line)
    ]
    assert len(names) > 20
    code = "".join(path.read_text() for path in (repository / "workflow/terraprobe/report").glob("*.py"))
    parts = {name: [part for part in re.split(r"<\w+>", name) if part] for name in names}
    for name, fixed in parts.items():
        pattern = r"\{[^}\"]+\}".join(re.escape(part) for part in fixed)
        assert re.search(rf'f"{pattern}', code), f"{name}: the report writes no such file"
