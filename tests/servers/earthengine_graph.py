"""Evaluates a listed subset of Earth Engine's algorithms over scenes, on the grid of a request.

Written from Earth Engine's documentation with numpy and pyproj, for tests: it imports nothing from terraprobe, so that
what terraprobe asks for is judged by what it posts. Any algorithm that is not listed is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

Plane = tuple[NDArray[Any], NDArray[np.bool_]]
"""Values and where they are observed, (y, x)."""


class Refused(Exception):  # noqa: N818
    """Earth Engine would answer 400; says why."""


@dataclass(frozen=True)
class Grid:
    """Pixels that are asked for: CRS, (a, b, c, d, e, f), width, height."""

    crs: str
    transform: tuple[float, ...]
    width: int
    height: int

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """X and y of each pixel's centre."""
        column, row = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f


@dataclass(frozen=True)
class Scene:
    """One image of a dataset: bands of one grid, observed where their mask says so."""

    collection: str
    index: str
    time: datetime
    crs: str
    transform: tuple[float, ...]
    bands: dict[str, Plane]
    properties: dict[str, Any] = field(default_factory=dict)

    def lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        height, width = next(iter(self.bands.values()))[0].shape
        a, _, c, _, e, f = self.transform
        to_degrees = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        return to_degrees.transform_bounds(c, f + e * height, c + a * width, f)

    def sample(self, band: str, grid: Grid) -> Plane:
        """The pixel that holds each centre of the grid."""
        to_scene = Transformer.from_crs(grid.crs, self.crs, always_xy=True)
        x, y = to_scene.transform(*grid.centres())
        a, _, c, _, e, f = self.transform
        values, mask = self.bands[band]
        column, row = np.floor((x - c) / a).astype(int), np.floor((y - f) / e).astype(int)
        inside = (column >= 0) & (column < values.shape[1]) & (row >= 0) & (row < values.shape[0])
        row, column = np.where(inside, row, 0), np.where(inside, column, 0)
        return values[row, column].astype(np.float64), inside & mask[row, column]


@dataclass(frozen=True)
class Image:
    """Bands that are computed when they are asked for; the properties of the scene behind them; type after a cast."""

    bands: dict[str, Callable[[], Plane]]
    properties: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float64"


def evaluate(expression: dict[str, Any], scenes: list[Scene], grid: Grid) -> Image:
    """The image of a posted expression."""
    return _Graph(expression["values"], scenes, grid).value({"valueReference": expression["result"]}, {})


class _Graph:
    def __init__(self, values: dict[str, Any], scenes: list[Scene], grid: Grid) -> None:
        self.values, self.scenes, self.grid = values, scenes, grid

    def value(self, node: dict[str, Any], scope: dict[str, Any]) -> Any:
        (kind, content), *more = node.items()
        if more:
            raise Refused(f"a node with {', '.join(node)}")
        if kind == "constantValue":
            return content
        if kind == "valueReference":
            return self.value(self.values[content], scope)
        if kind == "argumentReference":
            return scope[content]
        if kind == "arrayValue":
            return [self.value(one, scope) for one in content["values"]]
        if kind == "functionDefinitionValue":
            return lambda image: self.value(
                {"valueReference": content["body"]}, {**scope, content["argumentNames"][0]: image}
            )
        if kind == "functionInvocationValue":
            name = content["functionName"]
            if name not in ALGORITHMS:
                raise Refused(f"{name} is not an algorithm that this server knows")
            arguments = content.get("arguments", {})
            given = {_python_name(key): self.value(one, scope) for key, one in arguments.items()}
            return ALGORITHMS[name](self, **given)
        raise Refused(f"a node of kind {kind}")


def _python_name(argument: str) -> str:
    """`bandSelectors` is `band_selectors` here, and `input`, which Python has already, `input_`."""
    name = re.sub(r"([A-Z])", r"_\1", argument).lower()
    return f"{name}_" if name in ("filter", "id", "input") else name


def _load(graph: _Graph, id_: str) -> list[Image]:
    return [_opened(scene, graph.grid) for scene in graph.scenes if scene.collection == id_]


def _opened(scene: Scene, grid: Grid) -> Image:
    own = {"system:index": scene.index, "system:time_start": scene.time, ".all": scene.lonlat()}
    bands = {name: cache(lambda name=name: scene.sample(name, grid)) for name in scene.bands}
    return Image(bands, {**scene.properties, **own})


def _constant(graph: _Graph, value: Any) -> Image:
    shape = (graph.grid.height, graph.grid.width)
    numbers = {f"constant_{k}": v for k, v in enumerate(value)} if isinstance(value, list) else {"constant": value}
    return Image({n: (lambda v=v: (np.full(shape, float(v)), np.ones(shape, bool))) for n, v in numbers.items()})


def _select(graph: _Graph, input_: Image, band_selectors: list[str], new_names: list[str] | None = None) -> Image:
    for name in band_selectors:
        if name not in input_.bands:
            raise Refused(
                f"Image.select: Band pattern '{name}' did not match any bands. Available: {list(input_.bands)}"
            )
    names = new_names or band_selectors
    return replace(input_, bands={n: input_.bands[b] for n, b in zip(names, band_selectors, strict=True)})


def _rename(graph: _Graph, input_: Image, names: list[str]) -> Image:
    if len(names) != len(input_.bands) or len(set(names)) != len(names):
        raise Refused(f"Image.rename: {len(names)} names for {len(input_.bands)} bands")
    return replace(input_, bands=dict(zip(names, input_.bands.values(), strict=True)))


def _each(image: Image, change: Callable[[Plane], Plane], dtype: str | None = None) -> Image:
    bands = {name: cache(lambda get=get: change(get())) for name, get in image.bands.items()}
    return replace(image, bands=bands, dtype=dtype or image.dtype)


def _binary(operation: Callable[[Any, Any], Any]) -> Callable[..., Image]:
    def apply(graph: _Graph, image1: Image, image2: Image) -> Image:
        rights = list(image2.bands.values())
        if len(rights) not in (1, len(image1.bands)):
            raise Refused(f"{len(image1.bands)} bands against {len(rights)}")
        rights = rights * len(image1.bands) if len(rights) == 1 else rights

        def both(left: Callable[[], Plane], right: Callable[[], Plane]) -> Plane:
            (one, seen), (other, also) = left(), right()
            return np.asarray(operation(one, other), np.float64), seen & also

        pairs = zip(image1.bands.items(), rights, strict=True)
        return Image({n: cache(lambda g=g, r=r: both(g, r)) for (n, g), r in pairs}, image1.properties)

    return apply


def _update_mask(graph: _Graph, image: Image, mask: Image) -> Image:
    (get,) = mask.bands.values()

    def masked(plane: Plane) -> Plane:
        value, known = get()
        return plane[0], plane[1] & known & (value != 0)

    return _each(image, masked)


def _unmask(graph: _Graph, input_: Image, value: Image, same_footprint: bool = True) -> Image:
    if same_footprint:
        raise Refused("Image.unmask: only sameFootprint = False is known here")
    (get,) = value.bands.values()
    return _each(input_, lambda plane: (np.where(plane[1], plane[0], get()[0]), np.ones_like(plane[1])))


def _cast(dtype: str) -> Callable[..., Image]:
    def apply(graph: _Graph, value: Image) -> Image:
        def cut(plane: Plane) -> Plane:
            if dtype.startswith("float"):
                return plane[0].astype(dtype), plane[1]
            info = np.iinfo(dtype)
            return np.clip(np.trunc(plane[0]), info.min, info.max).astype(dtype), plane[1]

        return _each(value, cut, dtype)

    return apply


def _add_bands(graph: _Graph, dst_img: Image, src_img: Image) -> Image:
    bands = dict(dst_img.bands)
    for name, get in src_img.bands.items():
        free = next(n for n in (name, *(f"{name}_{k}" for k in range(1, 99))) if n not in bands)
        bands[free] = get
    return replace(dst_img, bands=bands)


def _reduced(statistic: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[..., Image]:
    def apply(graph: _Graph, collection: list[Image]) -> Image:
        names = list(dict.fromkeys(name for image in collection for name in image.bands))

        def band(name: str) -> Plane:
            planes = [image.bands[name]() for image in collection if name in image.bands]
            seen = np.stack([mask for _, mask in planes])
            values = np.where(seen, np.stack([value for value, _ in planes]), np.nan)
            with np.errstate(all="ignore"):
                return np.where(seen.any(axis=0), statistic(values), 0), seen.any(axis=0)

        return Image({name: cache(lambda name=name: band(name)) for name in names})

    return apply


def _mean(values: NDArray[Any]) -> NDArray[Any]:
    return np.nansum(values, axis=0) / np.maximum(np.isfinite(values).sum(axis=0), 1)


def _median(values: NDArray[Any]) -> NDArray[Any]:
    filled = np.where(np.isfinite(values).any(axis=0), values, 0)
    return np.asarray(np.nanmedian(filled, axis=0))


def _last(values: NDArray[Any]) -> NDArray[Any]:
    """A mosaic: the last observed value lies on top."""
    result = np.zeros(values.shape[1:])
    for value in values:
        result = np.where(np.isfinite(value), value, result)
    return result


def _link(graph: _Graph, input_: Image, image_collection: list[Image], linked_bands: list[str], **more: Any) -> Image:
    index = input_.properties["system:index"]
    others = [image for image in image_collection if image.properties["system:index"] == index]
    shape = (graph.grid.height, graph.grid.width)
    nothing = (np.zeros(shape), np.zeros(shape, bool))
    found = {b: others[0].bands[b] if others else (lambda: nothing) for b in linked_bands}
    return replace(input_, bands={**input_.bands, **found})


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _meets(bounds: tuple[float, ...], polygon: list[Any]) -> bool:
    x, y = np.array(polygon[0]).T
    west, south, east, north = bounds
    return bool(west <= x.max() and x.min() <= east and south <= y.max() and y.min() <= north)


Holds = Callable[[dict[str, Any]], bool]


def _dated(graph: _Graph, left_value: Any, right_field: str) -> Holds:
    first, end = left_value
    return lambda p: first <= p[right_field] < end


def _intersects(graph: _Graph, left_field: str, right_value: Any) -> Holds:
    return lambda p: _meets(p[left_field], right_value)


def _less(graph: _Graph, left_field: str, right_value: float) -> Holds:
    return lambda p: p[left_field] < right_value


def _equals(graph: _Graph, left_field: str, right_value: Any) -> Holds:
    return lambda p: p[left_field] == right_value


def _list_contains(graph: _Graph, left_field: str, right_value: Any) -> Holds:
    return lambda p: right_value in p[left_field]


ALGORITHMS: dict[str, Callable[..., Any]] = {
    "ImageCollection.load": _load,
    "ImageCollection.fromImages": lambda graph, images: images,
    "ImageCollection.merge": lambda graph, collection1, collection2: [*collection1, *collection2],
    "ImageCollection.mosaic": _reduced(_last),
    "Collection.filter": lambda graph, collection, filter_: [i for i in collection if filter_(i.properties)],
    "Collection.map": lambda graph, collection, base_algorithm: [base_algorithm(i) for i in collection],
    "reduce.mean": _reduced(_mean),
    "reduce.median": _reduced(_median),
    "DateRange": lambda graph, start, end: (_day(start), _day(end)),
    "Feature": lambda graph, geometry: geometry,
    "GeometryConstructors.Polygon": lambda graph, coordinates, geodesic=None, even_odd=None: coordinates,
    "Filter.dateRangeContains": _dated,
    "Filter.intersects": _intersects,
    "Filter.lessThan": _less,
    "Filter.equals": _equals,
    "Filter.listContains": _list_contains,
    "Image.constant": _constant,
    "Image.select": _select,
    "Image.rename": _rename,
    "Image.addBands": _add_bands,
    "Image.linkCollection": _link,
    "Image.updateMask": _update_mask,
    "Image.unmask": _unmask,
    "Image.bitwiseAnd": _binary(lambda one, other: one.astype(np.int64) & other.astype(np.int64)),
    "Image.eq": _binary(np.equal),
    "Image.gte": _binary(np.greater_equal),
    "Image.max": _binary(np.maximum),
    "Image.subtract": _binary(np.subtract),
    "Image.round": lambda graph, value: _each(value, lambda plane: (np.floor(plane[0] + 0.5), plane[1])),
    "Image.toUint8": _cast("uint8"),
    "Image.toUint16": _cast("uint16"),
    "Image.toFloat": _cast("float32"),
}
"""The listed subset."""
