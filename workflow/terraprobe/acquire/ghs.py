"""GHS-BUILT-S: the tiles of 1,000 km that chips touch, kept once for all studies."""

from pathlib import Path
from typing import TYPE_CHECKING

from terraprobe.acquire.datasets import keep_members, require_zip
from terraprobe.acquire.ground import read_ground
from terraprobe.acquire.http import download_all
from terraprobe.acquire.manifest import listed_name, write_manifest
from terraprobe.acquire.partial import hold
from terraprobe.acquire.remote import EnvironmentSession, RemoteFile, Terms, ask, shown
from terraprobe.errors import TerraprobeError
from terraprobe.sources import Download, Expects
from terraprobe.stage import In, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd

CRS = "ESRI:54009"
TILE_M = 1_000_000
WEST_M, NORTH_M = -18_041_000, 9_000_000
"""Tiles are counted from R1_C1 in the upper left corner of the Mollweide map (GHSL Data Package 2023, tiling schema):
R4_C19 is Ispra's. Tiles without land are not published."""


class GhsRecipe(Recipe):
    """Recipe of `fetch_ghs`.

    Attributes:
        shard: the chips whose ground is wanted.
        dataset: its name in the registry.
        version: as its provider calls it.
        licence: as its provider states it.
        tiles: address of the zip file of a tile, `{tile}` for its name.
        cache: folder where tiles are kept.
    """

    shard: str
    dataset: str
    version: str
    licence: str
    tiles: str
    cache: str


def fetch_ghs(*, grid: In, recipe: GhsRecipe, manifest: Out) -> None:
    """Fetch the tiles that the chips of one shard touch, those that are not kept yet.

    Args:
        grid: the collection's `grid.parquet`.
        recipe: which chips, and where tiles come from and are kept.
        manifest: JSON: the tiles, with bytes, SHA-256 and status; those without land are `empty`. Written last.

    Raises:
        TerraprobeError: a tile cannot be fetched or is not what it should be, or none of them is published.
    """
    cache, session = Path(recipe.cache), EnvironmentSession()
    cache.mkdir(parents=True, exist_ok=True)
    names = touched_tiles(read_ground(grid, recipe.shard))
    kept = {
        name: cache / f"{recipe.tiles.rpartition('/')[2].removesuffix('.zip').format(tile=name)}.tif" for name in names
    }
    empty = [name for name, path in kept.items() if not path.exists() and _is_absent(recipe, name, session)]
    if len(empty) == len(names):
        raise TerraprobeError(
            f"{recipe.dataset}: none of the tiles {', '.join(names)} is published at {shown(recipe.tiles)}. Is the "
            "area all at sea, or the address out of date (resources/sources.yaml)?"
        )
    for name, path in kept.items():
        if name not in empty:
            _keep_tile(path, recipe.tiles.format(tile=name), session)
    facts = {"licence": recipe.licence, "status": "ok"}
    rows = [
        (listed_name(path, manifest), recipe.dataset, {"source": shown(recipe.tiles.format(tile=name)), **facts})
        for name, path in kept.items()
        if name not in empty
    ]
    source = {"dataset": recipe.dataset, "version": recipe.version, "credentials": "none", "empty": empty}
    write_manifest(manifest, source, rows)
    progress(f"{recipe.dataset}: {len(rows)} tiles" + (f"; no land in {', '.join(empty)}" if empty else ""))


def touched_tiles(ground: "gpd.GeoSeries") -> list[str]:
    """Names of the tiles that chips touch, such as `R4_C19`, from north to south and west to east.

    A chip is far smaller than a tile: those of its corners are all that it can touch.
    """
    import numpy as np

    corners = ground.to_crs(CRS).get_coordinates()
    columns = ((corners["x"] - WEST_M) // TILE_M).astype(int)
    rows = ((NORTH_M - corners["y"]) // TILE_M).astype(int)
    cells = np.unique(np.stack([rows, columns], axis=1), axis=0).tolist()
    return [f"R{row + 1}_C{column + 1}" for row, column in cells]


def _is_absent(recipe: GhsRecipe, name: str, session: EnvironmentSession) -> bool:
    return ask(recipe.tiles.format(tile=name), session) == 404


def _keep_tile(path: Path, url: str, session: EnvironmentSession) -> None:
    """Fetch and unpack one tile, once, whichever jobs ask for it."""
    archive = path.with_suffix(".zip")
    with hold(path, f"{path.name}: another job fetches it; waiting"):
        if not path.exists():
            download_all(path.stem, {archive: RemoteFile((url,))}, Terms(session, check=require_zip))
            keep_members(archive, Download(urls=(url,), members=(path.name,), expects=Expects(crs=CRS)), path.parent)
        archive.unlink(missing_ok=True)
