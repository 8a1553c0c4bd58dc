"""GHS-BUILT-S: the tiles of 1,000 km that an area touches, kept once for all studies."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from terraprobe.acquire.datasets import keep_members, require_zip
from terraprobe.acquire.http import download_all
from terraprobe.acquire.manifest import listed_name, write_manifest
from terraprobe.acquire.partial import locked_file
from terraprobe.acquire.remote import EnvironmentSession, RemoteFile, Terms, ask, shown
from terraprobe.errors import TerraprobeError
from terraprobe.sources import Download, Expects
from terraprobe.stage import Out, Recipe, progress

if TYPE_CHECKING:
    from shapely import Geometry

CRS = "ESRI:54009"
TILE_M = 1_000_000
WEST_M, NORTH_M = -18_041_000, 9_000_000
COLUMNS, ROWS = 36, 18
"""Tiles are counted from the upper left corner of the Mollweide map (GHSL Data Package 2023, tiling schema): R4_C19 is
Ispra's. Tiles without land are not published."""


class GhsRecipe(Recipe):
    """Recipe of `fetch_ghs`.

    Attributes:
        area: WKT in degrees (x = longitude, y = latitude).
        dataset: its name in the registry.
        version: as its provider calls it.
        licence: as its provider states it.
        tiles: address of the zip file of a tile, `{tile}` for its name.
        cache: folder where tiles are kept.
    """

    area: str
    dataset: str
    version: str
    licence: str
    tiles: str
    cache: str


def fetch_ghs(*, recipe: GhsRecipe, manifest: Out) -> None:
    """Fetch the tiles that an area touches, those that are not kept yet.

    Args:
        recipe: area, and where tiles come from and are kept.
        manifest: JSON: the tiles, with bytes, SHA-256 and status; those without land are `empty`. Written last.

    Raises:
        TerraprobeError: a tile cannot be fetched or is not what it should be, or none of them is published.
    """
    cache, session = Path(recipe.cache), EnvironmentSession()
    cache.mkdir(parents=True, exist_ok=True)
    names = touched_tiles(recipe.area)
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
    write_manifest(manifest, {"dataset": recipe.dataset, "version": recipe.version, "empty": empty}, rows)
    progress(f"{recipe.dataset}: {len(rows)} tiles" + (f"; no land in {', '.join(empty)}" if empty else ""))


def touched_tiles(area: str) -> list[str]:
    """Names of the tiles that an area touches, such as `R4_C19`, from north to south and west to east.

    Raises:
        TerraprobeError: the area is no polygon in degrees.
    """
    from shapely import box

    ground = _mollweide(area)
    west, south, east, north = ground.bounds
    columns = range(max(0, int((west - WEST_M) // TILE_M)), min(COLUMNS, int((east - WEST_M) // TILE_M) + 1))
    rows = range(max(0, int((NORTH_M - north) // TILE_M)), min(ROWS, int((NORTH_M - south) // TILE_M) + 1))
    found = []
    for row, column in product(rows, columns):
        left, top = WEST_M + column * TILE_M, NORTH_M - row * TILE_M
        if ground.intersects(box(left, top - TILE_M, left + TILE_M, top)):
            found.append(f"R{row + 1}_C{column + 1}")
    return found


def _mollweide(area: str) -> "Geometry":
    from pyproj import Transformer
    from shapely import from_wkt, transform
    from shapely.errors import ShapelyError

    try:
        ground = from_wkt(area)
    except ShapelyError as error:
        raise TerraprobeError(
            f"area {area[:60]}: no WKT ({error}). Give a polygon in degrees, x = longitude."
        ) from error
    west, south, east, north = ground.bounds
    if ground.is_empty or not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise TerraprobeError(f"area {area[:60]}: bounds {ground.bounds}, expected degrees, x = longitude.")
    projected = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    # Straight lines in degrees are curves on this map.
    return transform(ground.segmentize(0.1), projected.transform, interleaved=False)


def _is_absent(recipe: GhsRecipe, name: str, session: EnvironmentSession) -> bool:
    return ask(recipe.tiles.format(tile=name), session) == 404


def _keep_tile(path: Path, url: str, session: EnvironmentSession) -> None:
    """Fetch and unpack one tile, once, whichever jobs ask for it."""
    lock, archive = path.with_name(f".{path.stem}.lock"), path.with_suffix(".zip")
    with locked_file(lock, f"{path.name}: another job fetches it; waiting"):
        if not path.exists():
            download_all(path.stem, {archive: RemoteFile((url,))}, Terms(session, check=require_zip))
            keep_members(archive, Download(urls=(url,), members=(path.name,), expects=Expects(crs=CRS)), path.parent)
        archive.unlink(missing_ok=True)
        lock.unlink()
