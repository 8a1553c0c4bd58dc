"""The full study of `bioclim`, as its ledger knows it."""

import pytest

from archive_tree import fake_downloads
from terraprobe.ledger.notes import LedgerRecipe, ledger_recipe
from terraprobe.study import load_study


@pytest.fixture(scope="session")
def full(repository, tmp_path_factory: pytest.TempPathFactory) -> LedgerRecipe:
    """What `studies/bioclim.yaml` tells its ledger; the archives that it asks its reader to unpack are empty."""
    folder = tmp_path_factory.mktemp("unpacked")
    fake_downloads(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return ledger_recipe(load_study(repository / "studies/bioclim.yaml"))
