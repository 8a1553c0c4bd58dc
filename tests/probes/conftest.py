"""Fixtures of the probe tests."""

from types import SimpleNamespace

import pytest
from probes_world import World, run


@pytest.fixture(scope="session")
def scored(tmp_path_factory) -> SimpleNamespace:
    """The untouched world, scored once. Its files are read-only by agreement."""
    return run(World().write(tmp_path_factory.mktemp("scored")))
