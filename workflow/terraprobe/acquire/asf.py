"""Interferometric coherence from ASF: ARIA Sentinel-1 GUNW products over chips, found and fetched."""

import logging
import threading
from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StringConstraints

from terraprobe.acquire.ground import read_ground
from terraprobe.acquire.gunw import is_gunw, newest, parse_gunw
from terraprobe.acquire.http import download_all
from terraprobe.acquire.manifest import listed_name, write_manifest
from terraprobe.acquire.remote import RemoteFile, Terms, shown
from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd

Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
LAYER = "s1_coherence"
LICENCE = "NASA JPL ARIA, ASF DAAC, free and open; contains modified Copernicus Sentinel data processed by ESA"
_ONE_AT_A_TIME = threading.Lock()
"""The HDF5 library below netCDF4 is not made for threads: two that open files at once end the process."""
COLUMNS = ["product", "url", "bytes", "md5", "later", "earlier", "days", "direction", "track", "version", "geometry"]


class SearchRecipe(Recipe):
    """Recipe of `search_coherence`.

    Attributes:
        months: of the later date, as "2020-01".
        max_days: between the two dates, at most ([P] of `clip3`: 48).
    """

    months: tuple[Month, ...] = Field(min_length=1)
    max_days: int = Field(48, ge=1)


class FetchRecipe(Recipe):
    """Recipe of `fetch_coherence`.

    Attributes:
        shard: the chips whose ground is wanted.
        cache: folder where products are kept, shared by all studies.
    """

    shard: str
    cache: str


def search_coherence(*, grid: In, recipe: SearchRecipe, products: Out) -> None:
    """List the products over the chips of a collection. Needs no credentials.

    Args:
        grid: the collection's `grid.parquet`.
        recipe: which dates.
        products: GeoParquet, a row a product by name, the newest version of each: `product, url, bytes, md5, later,
            earlier (YYYY-MM-DD), days, direction, track, version, geometry (its footprint, EPSG:4326)`; no row where
            ASF has nothing.

    Raises:
        TerraprobeError: ASF's search does not answer, or not with all that it found.
    """
    ground = read_ground(grid)
    found = _search(ground, recipe)
    kept = _choose(found, ground, recipe)
    write_table(products, kept)
    progress(
        f"coherence: {len(kept)} products, {kept['bytes'].sum() / 1e9:.1f} GB, of {len(found)} that ASF has from "
        f"{recipe.months[0]} to {recipe.months[-1]}" + ("" if len(kept) else ": it goes without coherence")
    )


def find_products(ground: "gpd.GeoSeries", months: tuple[str, ...]) -> "gpd.GeoDataFrame":
    """The products that `search_coherence` would list.

    Args:
        ground: outlines of chips, EPSG:4326.
        months: of the later date.

    Raises:
        TerraprobeError: ASF's search does not answer, or not with all that it found.
    """
    recipe = SearchRecipe(months=months)
    return _choose(_search(ground, recipe), ground, recipe)


def fetch_coherence(*, grid: In, products: In, recipe: FetchRecipe, manifest: Out) -> None:
    """Fetch the products that touch the chips of one shard, those that are not kept yet.

    Args:
        grid: the collection's `grid.parquet`.
        products: table of `search_coherence`.
        recipe: which chips, and where products are kept.
        manifest: JSON: the products, with bytes, SHA-256 and status; none where ASF has nothing. Written last.

    Raises:
        TerraprobeError: no credentials, a product cannot be fetched, or is not what it should be.
    """
    table = read_table(products)
    touching = table[_touch(table.geometry, read_ground(grid, recipe.shard))]
    cache = Path(recipe.cache)
    files = {
        cache / f"{row.product}.nc": RemoteFile((row.url,), int(row.bytes) or None, md5=row.md5)
        for row in touching.itertuples()
    }
    if not all(file.is_at(path) for path, file in files.items()):
        _fetch(files)
    rows = [
        (listed_name(path, manifest), LAYER, {"source": shown(file.urls[0]), "licence": LICENCE, "status": "ok"})
        for path, file in files.items()
    ]
    source = {"dataset": "ARIA_S1_GUNW", "credentials": "Earthdata", "status": "ok" if rows else "empty"}
    write_manifest(manifest, source, rows)
    progress(f"coherence {recipe.shard}: " + (f"{len(rows)} products" if rows else "none, it goes without coherence"))


def _fetch(files: dict[Path, RemoteFile]) -> None:
    from terraprobe.acquire.earthdata import Earthdata

    earthdata = Earthdata()
    earthdata.log_in()
    download_all("coherence", files, Terms(earthdata.session, check=require_coherence, renew=earthdata.renew))


def require_coherence(path: Path) -> None:
    """Refuse a file that is no whole GUNW product.

    Raises:
        TerraprobeError: says what it lacks.
    """
    import netCDF4

    try:
        with _ONE_AT_A_TIME, netCDF4.Dataset(path) as product:
            layer = product["/science/grids/data/coherence"]
            layer[0, 0], layer[-1, -1]
    except (OSError, RuntimeError) as error:
        raise TerraprobeError(f"no whole NetCDF file ({error})") from error
    except (IndexError, KeyError) as error:
        raise TerraprobeError("no /science/grids/data/coherence in it") from error


def _search(ground: "gpd.GeoSeries", recipe: SearchRecipe) -> list[Any]:
    """Products over the convex hull of chips and over all months between the first and the last, in any order."""
    import asf_search as asf
    import requests
    import shapely

    from terraprobe.acquire.earthdata import SEARCH_HOST, EarthdataSession

    first, last = min(recipe.months), max(recipe.months)
    logging.getLogger("asf_search").setLevel(logging.CRITICAL)  # what it logs is raised too
    try:
        found = asf.search(
            dataset=asf.DATASET.ARIA_S1_GUNW,
            intersectsWith=shapely.convex_hull(shapely.geometrycollections(ground.to_numpy())).wkt,
            start=f"{first}-01T00:00:00Z",
            end=f"{last}-{monthrange(*map(int, last.split('-')))[1]}T23:59:59Z",
            opts=asf.ASFSearchOptions(session=EarthdataSession()),
        )
        found.raise_if_incomplete()
    except (asf.ASFSearchError, asf.CMRError, requests.RequestException, KeyError, ValueError) as error:
        said = str(error)[:200] if isinstance(error, asf.ASFSearchError) else type(error).__name__
        raise TerraprobeError(
            f"ASF's search ({SEARCH_HOST}) does not answer ({said}). Nothing was written; run the same command "
            "again later."
        ) from error
    return list(found)


def _choose(found: Iterable[Any], ground: "gpd.GeoSeries", recipe: SearchRecipe) -> "gpd.GeoDataFrame":
    """Products of the months that touch a chip, the newest version of each, by name."""
    import geopandas as gpd
    from shapely.geometry import shape

    rows = {}
    for product in found:
        name, facts = product.properties["sceneName"], product.properties
        if not is_gunw(name):
            continue
        gunw = parse_gunw(name)
        later, earlier = (date.fromisoformat(day).isoformat() for day in (gunw.later, gunw.earlier))
        if later[:7] not in recipe.months or not 0 < gunw.days <= recipe.max_days:
            continue
        size, md5 = _size_and_sum(facts, f"{name}.nc")
        version = ".".join(map(str, gunw.version))
        pair = [later, earlier, gunw.days, gunw.direction, gunw.track]
        rows[name] = [name, facts["url"], size, md5, *pair, version, shape(product.geometry)]
    kept = [rows[name] for name in sorted(newest(sorted(rows)))]
    frame = gpd.GeoDataFrame(kept, columns=COLUMNS, geometry="geometry", crs="EPSG:4326")
    return frame[_touch(frame.geometry, ground)]


def _touch(footprints: "gpd.GeoSeries", ground: "gpd.GeoSeries") -> Any:
    """Whether each footprint touches a chip, (products,)."""
    import numpy as np

    touched = np.zeros(len(footprints), bool)
    touched[ground.sindex.query(footprints, predicate="intersects")[0]] = True
    return touched


def _size_and_sum(facts: Any, file: str) -> tuple[int, str]:
    """Bytes and MD5 of the product's own file; 0 and nothing where the search does not say."""
    size, md5 = facts.get("bytes"), facts.get("md5sum")
    if isinstance(size, dict):  # of every file of the product, by name
        size, md5 = (size.get(file) or {}).get("bytes"), (md5 or {}).get(file)
    return int(size or 0), str(md5 or "")
