"""Fixtures that more than one folder of tests needs."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have remarked by `record_property("remark", …)`, at the end, so that several workers can."""
    passed = terminalreporter.getreports("passed")
    remarks = [value for report in passed for name, value in report.user_properties if name == "remark"]
    if remarks:
        terminalreporter.section("remarks")
        for remark in remarks:
            terminalreporter.line(str(remark))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Genuine data beside the checkout, never part of it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        reason = f"genuine test data are absent: {Path('..') / 'shared' / 'data'}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def study_content() -> dict[str, Any]:
    """A small study that fits, as read from YAML; each test gets its own to spoil."""
    return {
        "study": "mini",
        "title": "a mini study",
        "random_inits": 1,
        "tsne_chips": 20,
        "collections": [
            {
                "name": "land",
                "kind": "simulated",
                "modalities": ["s2_rgb_monthly", "s1_grd_monthly"],
                "labels": ["mod44b", "worldcover"],
                "chip_px": 32,
                "shards": 2,
                "world": {"seed": 3, "n_places": 10, "place_px": 64, "months": ["2020-01", "2020-02", "2020-03"]},
                "split": {"kind": "geobands", "n_bands": 5, "buffer_m": 100},
            },
            {
                "name": "shore",
                "kind": "scene",
                "scene": "virginia",
                "modalities": ["s2_l1c"],
                "chip_px": 64,
                "split": {"kind": "stratified", "shares": {"train": 0.6, "val": 0.2, "test": 0.2}},
            },
        ],
        "encoders": [
            {
                "name": "clip3_land",
                "method": "clip3",
                "collections": ["land"],
                "recipe": {
                    "towers": {"s2": {"modality": "s2_rgb_monthly"}, "s1": {"modality": "s1_grd_monthly"}},
                    "patch_px": 8,
                },
            }
        ],
        "evaluations": [
            {
                "name": "cover",
                "probe": "forest",
                "collection": "land",
                "tasks": ["vegetation", "croplands"],
                "sizes": [4, "full"],
                "repeats": 2,
            }
        ],
    }
