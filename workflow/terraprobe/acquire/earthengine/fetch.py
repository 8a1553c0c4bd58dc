"""The stage that fetches one layer of one shard from Earth Engine, window by window."""

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from terraprobe.acquire.earthengine.access import open_session
from terraprobe.acquire.earthengine.client import Passing, TooMuch, check_pixels, fetch_window
from terraprobe.acquire.earthengine.graphs import compose
from terraprobe.acquire.earthengine.products import PRODUCTS, REQUESTS_AT_ONCE, SETTINGS, Composite, Product
from terraprobe.acquire.earthengine.windows import Window, cut_window, shard_windows
from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import digest, read_table, table_metadata, write_bytes
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Out, Recipe, progress

LEAST_PX = 64
"""A window is not quartered further: what Earth Engine cannot compute for so few pixels, it never will."""

Row = tuple[str, str, dict[str, Any]]
"""Name of a file below the shard's folder, its layer, what the manifest says of it."""


class FetchRecipe(Recipe):
    """Recipe of `fetch_earthengine`.

    Attributes:
        layer: a layer that Earth Engine gives.
        shard: the rows of the grid to fetch.
        composite: which dates, and how many images become one.
    """

    layer: str
    shard: str
    composite: Composite


def fetch_earthengine(*, grid: In, recipe: FetchRecipe, manifest: Out) -> None:
    """Fetch one layer of the chips of one shard, on the chips' own grid.

    Each window is one request and one GeoTIFF as it came, in a folder beside the manifest that is called as the shard
    is. A file's name holds the digest of its request: what is there already is not asked for again, and nothing that
    answered another question is taken.

    Args:
        grid: the collection's `grid.parquet`.
        recipe: what to fetch.
        manifest: JSON, written last: of each file its request's digest, bands, nodata, `observed` (share of observed
            pixels by band) and `status`: `ok`, or `empty` where no image shows anything.

    Raises:
        TerraprobeError: Earth Engine cannot be asked, refuses, does not answer, or answers with something else.
    """
    product = _product(recipe.layer)
    frame = read_table(grid)
    frame = frame[frame["shard"] == recipe.shard]
    windows = shard_windows(frame, int(table_metadata(grid)["chip_px"]), product)
    folder = manifest.with_suffix("")
    job = _Job(open_session(), product, recipe, folder)
    rows = job.run(windows)
    _sweep(folder, {name for name, _, _ in rows})
    write_manifest(manifest, _source(product, recipe.composite), [(f"{folder.name}/{n}", la, m) for n, la, m in rows])


class _Job:
    """Windows of one shard while they are fetched."""

    def __init__(self, ee: Any, product: Product, recipe: FetchRecipe, folder: Path) -> None:
        self.ee, self.product, self.recipe, self.folder = ee, product, recipe, folder
        self.kept: list[Path] = []

    def run(self, windows: list[Window]) -> list[Row]:
        """Row of each window's file, in order; the first error stops what has not begun."""
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            futures = [pool.submit(self._one, window) for window in windows]
            step = max(1, len(futures) // 20)
            for end in range(step, len(futures) + step, step):
                self._wait(futures, end)
            return [row for future in futures for row in future.result()]

    def _wait(self, futures: "list[Future[list[Row]]]", end: int) -> None:
        """Wait for the first windows and say how much is there."""
        done, _ = wait(futures[:end], return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            for future in futures:
                future.cancel()
            next(future for future in done if future.exception()).result()
        size = sum((self.folder / name).stat().st_size for future in done for name, _, _ in future.result())
        progress(
            f"{self.product.layer} {self.recipe.shard}: {len(done)} of {len(futures)} tiles, {size / 1e6:.1f} MB"
            + (f"; {len(self.kept)} were there" if self.kept else "")
        )

    def _one(self, window: Window) -> list[Row]:
        """Rows of a window; of its quarters where it is too much for one request."""
        try:
            return [self._whole(window)]
        except TooMuch as error:
            if min(window.width, window.height) < LEAST_PX:
                what = f"{self.product.layer} {window.name}"
                raise TerraprobeError(f"{what}: Earth Engine fails at {window.width} px a side: {error}") from None
            return [row for quarter in cut_window(window, 2) for row in self._one(quarter)]

    def _whole(self, window: Window) -> Row:
        request = self._request(window)
        asked = digest({**request, "expression": self.ee.serializer.encode(request["expression"], for_cloud_api=True)})
        name = f"{window.name}_{asked[:12]}.tif"
        path = self.folder / name
        observed = self._there(path, window, request["bandIds"])
        if observed is None:
            answer = fetch_window(self.ee, request, self.product, window)
            write_bytes(path, answer.content)
            observed = answer.observed
        row = {
            "request": asked,
            "bands": list(self.product.bands),
            "nodata": self.product.nodata,
            "offset_dn": 0,
            "observed": observed,
            "status": "ok" if any(observed.values()) else "empty",
        }
        return name, self.product.layer, row

    def _request(self, window: Window) -> dict[str, Any]:
        image, names = compose(self.ee, self.product, self.recipe.composite, window.lonlat())
        return {"expression": image, "fileFormat": "GEO_TIFF", "bandIds": names, "grid": window.grid}

    def _there(self, path: Path, window: Window, names: list[str]) -> dict[str, float] | None:
        """Shares of a file that an earlier run left; None where there is none that is whole."""
        if not path.is_file():
            return None
        try:
            observed = check_pixels(path.read_bytes(), self.product, window, names)
        except (Passing, TerraprobeError):
            return None
        self.kept.append(path)
        return observed


def _product(layer: str) -> Product:
    if layer not in PRODUCTS:
        raise TerraprobeError(f"layer {layer}: not one that Earth Engine gives. Allowed: {', '.join(PRODUCTS)}.")
    return PRODUCTS[layer]


def _sweep(folder: Path, names: set[str]) -> None:
    """Delete answers to requests that are no longer made."""
    for path in folder.glob("*.tif"):
        if path.name not in names:
            path.unlink()


def _source(product: Product, composite: Composite) -> dict[str, Any]:
    settings = composite.model_dump(mode="json", include=set(SETTINGS[product.sensor]))
    return {
        "dataset": product.dataset,
        "composite": settings,
        "licence": product.licence,
        "credentials": "Earth Engine account",
    }
