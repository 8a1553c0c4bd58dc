"""Where the chips are and how they are split."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.collections.chiptable import CHIP_RESOLUTION_M, EARTH_RADIUS_M, chip_centres, have_places
from terraprobe.report.drawing import CYCLE, INK, PAPER, SPLIT_COLOURS, Gallery, Picture, colour_key, themed_figure
from terraprobe.report.inputs import SPLITS, Collection

_QUICKLOOK_PX = 16  # a side, of each chip
_MOST_PANELS = 12
_TRUE_COLOUR = ("B04", "B03", "B02")


def draw_maps(collection: Collection, gallery: Gallery) -> list[Picture]:
    """Maps of one collection: its picture where it lies on one grid, its splits, its regions where it has some.

    None where nobody knows where its chips are.
    """
    if not have_places(collection.chips):
        return []
    if _is_scene(collection):
        return _scene_maps(collection, gallery)
    pictures = [_places_map(collection, "split", dict(SPLIT_COLOURS), gallery)]
    if 1 < collection.chips["source"].nunique() <= _MOST_PANELS:
        pictures.append(_tiles_map(collection, gallery))
    regions = sorted(set(collection.chips["region"].astype(str)) - {""})
    if regions:
        colours = {region: CYCLE[k % len(CYCLE)] for k, region in enumerate(regions)}
        pictures.append(_places_map(collection, "region", colours, gallery))
    return pictures


def _is_scene(collection: Collection) -> bool:
    """One CRS, and chips that fill at least a third of their own bounding box."""
    if collection.chips["crs"].nunique() != 1:
        return False
    column, row = _lattice(collection)
    return bool(len(collection.chips) * 3 >= (column.max() + 1) * (row.max() + 1))


def _lattice(collection: Collection) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Column and row of each chip of a scene, counted from its upper left corner."""
    transform = np.stack(collection.chips["transform"].to_list())
    side_m = _chip_side_m(collection)
    left, top = transform[:, 2], transform[:, 5]
    column, row = np.rint((left - left.min()) / side_m), np.rint((top.max() - top) / side_m)
    return column.astype(np.intp), row.astype(np.intp)


def _chip_side_m(collection: Collection) -> float:
    store = next(iter(collection.modalities.values()), None)
    if store is not None:
        return store.chip_px * CHIP_RESOLUTION_M
    bounds = collection.chips.geometry.iloc[:1].bounds.to_numpy()[0]
    return float(np.radians(bounds[3] - bounds[1]) * EARTH_RADIUS_M)


def _caption(collection: Collection) -> str:
    counts = collection.chips["split"].value_counts()
    parts = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS if split in counts)
    return f"{len(collection.chips):,} chips: {parts}."


def _scene_maps(collection: Collection, gallery: Gallery) -> list[Picture]:
    column, row = _lattice(collection)
    side_m = _chip_side_m(collection)
    transform = np.stack(collection.chips["transform"].to_list())
    left, top = float(transform[:, 2].min()), float(transform[:, 5].max())
    extent = (left, left + (column.max() + 1) * side_m, top - (row.max() + 1) * side_m, top)
    height_in = 0.75 + 3.5 * (extent[3] - extent[2]) / (extent[1] - extent[0])
    title, kind = collection.note.title, collection.note.kind
    pictures = []
    mosaic = quicklook(collection, column, row)
    if mosaic is not None:
        figure, axes = themed_figure(height_in)
        axes[0, 0].imshow(mosaic, extent=extent, interpolation="nearest")
        _finish_scene(axes[0, 0], collection, extent, f"{title} ({kind})")
        alt = f"True-colour quick-look of {title}, put together from its chips, with longitude and latitude."
        caption = "Quick-look of the chips as stored (bands 4, 3, 2), each 16 × 16 pixels here."
        pictures.append(gallery.add(f"map-{collection.name}-quicklook", figure, alt, caption))
    figure, axes = themed_figure(height_in + 0.33)
    present = _split_squares(axes[0, 0], collection, column, row, extent)
    _finish_scene(axes[0, 0], collection, extent, f"{title} ({kind}): split")
    colour_key(figure, present)
    alt = f"Map of the chips of {title}, coloured by split. {_caption(collection)}"
    pictures.append(gallery.add(f"map-{collection.name}-split", figure, alt, _caption(collection)))
    return pictures


def quicklook(collection: Collection, column: NDArray[np.intp], row: NDArray[np.intp]) -> NDArray[np.uint8] | None:
    """Mosaic (rows, columns, 3) of chips reduced to 16 x 16 px; None where there is no true-colour modality."""
    name = next((n for n, s in collection.modalities.items() if set(_TRUE_COLOUR) <= set(s.bands)), None)
    if name is None:
        return None
    store = collection.modalities[name]
    step = max(1, store.chip_px // _QUICKLOOK_PX)
    size = store.chip_px // step
    mosaic = np.full(((row.max() + 1) * size, (column.max() + 1) * size, 3), np.nan, np.float32)
    channels = np.array([store.bands.index(band) for band in _TRUE_COLOUR])
    for chip, (c, r) in enumerate(zip(column, row, strict=True)):
        pixels = store.physical(np.full(3, chip), channels)[:, : size * step, : size * step]
        means = pixels.reshape(3, size, step, size, step).mean(axis=(2, 4))
        mosaic[r * size : (r + 1) * size, c * size : (c + 1) * size] = np.moveaxis(means, 0, -1)
    return stretch(mosaic)


def stretch(image: NDArray[np.float32], limits: NDArray[np.float64] | None = None) -> NDArray[np.uint8]:
    """Reflectance to 8-bit RGB between two limits; white where not observed.

    Args:
        image: (…, 3).
        limits: lower and upper one of each band, (2, 3); by default its 1 % and 98 % quantiles.
    """
    flat = image.reshape(-1, image.shape[-1])
    low, high = np.nanquantile(flat, [0.01, 0.98], axis=0) if limits is None else limits
    scaled = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1)
    rgb: NDArray[np.uint8] = (np.nan_to_num(scaled, nan=1.0) * 255).astype(np.uint8)
    return rgb


def _split_squares(
    ax: Any, collection: Collection, column: NDArray[np.intp], row: NDArray[np.intp], extent: tuple[float, ...]
) -> dict[str, str]:
    """One shape a split, made of its chips' squares; vector, so that it follows the page's theme."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    side_m = _chip_side_m(collection)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * side_m
    low = np.stack([extent[0] + column * side_m, extent[3] - (row + 1) * side_m], axis=1)
    present = {}
    for split, colour in SPLIT_COLOURS.items():
        squares = [Path(corner + corners, closed=True) for corner in low[collection.in_split(split).to_numpy()]]
        if squares:
            ax.add_patch(PathPatch(Path.make_compound_path(*squares), facecolor=colour, edgecolor=PAPER, lw=0.4))
            present[split] = colour
    ax.set_aspect("equal")
    return present


def _finish_scene(ax: Any, collection: Collection, extent: tuple[float, ...], title: str) -> None:
    """Title, scale bar, and ticks where whole fractions of a degree meet the lower and left edge."""
    from pyproj import Transformer

    crs = collection.chips["crs"].iloc[0]
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    to_map = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    lons, lats = to_lonlat.transform(np.array(extent[:2]), np.full(2, extent[2]))
    lon_ticks = _round_ticks(float(lons[0]), float(lons[1]), 4)
    x, _ = to_map.transform(lon_ticks, np.interp(lon_ticks, lons, lats))
    lons, lats = to_lonlat.transform(np.full(2, extent[0]), np.array(extent[2:]))
    height = (extent[3] - extent[2]) / (extent[1] - extent[0])
    lat_ticks = _round_ticks(float(lats[0]), float(lats[1]), max(2, round(4 * height)))
    _, y = to_map.transform(np.interp(lat_ticks, lats, lons), lat_ticks)
    ax.set_xticks(x, [degrees(v, "E", "W") for v in lon_ticks])
    ax.set_yticks(y, [degrees(v, "N", "S") for v in lat_ticks], rotation=90, va="center")
    ax.set(title=title, xlim=extent[:2], ylim=extent[2:])
    _scale_bar(ax, 1.0)


def _round_ticks(low: float, high: float, count: int) -> NDArray[np.float64]:
    from matplotlib.ticker import MaxNLocator

    ticks = np.asarray(MaxNLocator(count, steps=[1, 2, 5, 10], min_n_ticks=1).tick_values(low, high))
    return ticks[(ticks >= low) & (ticks <= high)]


def degrees(value: float, positive: str, negative: str) -> str:
    """A coordinate for people: `75.7° W`."""
    return f"{abs(value):.4g}° {positive if value >= 0 else negative}"


def _scale_bar(ax: Any, metres_per_unit: float) -> None:
    """A bar of a round length, about a quarter of the map wide, on its own ground so that it shows on any picture."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    low, high = ax.get_xlim()
    wanted = (high - low) * metres_per_unit / 4
    power = 10 ** np.floor(np.log10(wanted))
    length = float(max(k * power for k in (1, 2, 5) if k * power <= wanted))
    width = length / metres_per_unit / (high - low)
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    inches_up = ax.figure.dpi_scale_trans + ScaledTranslation(0, 0, ax.transAxes)
    place = {"transform": blended_transform_factory(ax.transAxes, inches_up), "clip_on": False}
    ax.fill([0.02, width + 0.06, width + 0.06, 0.02], [0.06, 0.06, 0.36, 0.36], color=PAPER, alpha=0.85, lw=0,
            zorder=5, **place)  # fmt: skip
    ax.plot([0.04, 0.04 + width], [0.12, 0.12], color=INK, lw=2.5, solid_capstyle="butt", zorder=6, **place)
    ax.text(0.04 + width / 2, 0.16, label, ha="center", va="bottom", zorder=6, **place)


def _places_map(collection: Collection, column: str, colours: dict[str, str], gallery: Gallery) -> Picture:
    """One mark for each block and value of `column`, at the mean of its chips, in longitude and latitude."""
    lon, lat = chip_centres(collection.chips)
    frame = collection.chips[["block", column]].assign(lon=lon, lat=lat)
    marks = frame.groupby(["block", column], sort=True)[["lon", "lat"]].mean().reset_index()
    spread = np.ptp(lat) / max(np.ptp(lon) * np.cos(np.radians(lat.mean())), 1e-9)
    figure, axes = themed_figure(1.0 + 3.4 * float(np.clip(spread, 0.35, 1.3)))
    ax = axes[0, 0]
    present = {value: colour for value, colour in colours.items() if (marks[column] == value).any()}
    for value, colour in present.items():
        rows = marks[marks[column] == value]
        ax.scatter(rows["lon"], rows["lat"], s=16, marker="s", color=colour, linewidths=0)
    ax.set_aspect(1 / np.cos(np.radians(lat.mean())))
    ax.margins(0.06, 0.14)
    for axis, signs in ((ax.xaxis, ("E", "W")), (ax.yaxis, ("N", "S"))):
        axis.set_major_formatter(lambda value, _, signs=signs: degrees(value, *signs))
        axis.get_major_locator().set_params(nbins=4)
    title = collection.note.title
    ax.set_title(f"{title} ({collection.note.kind}): {column}")
    _scale_bar(ax, float(np.radians(1) * EARTH_RADIUS_M * np.cos(np.radians(lat.mean()))))
    colour_key(figure, present)
    counts = frame.groupby(column)["block"].nunique()
    words = ", ".join(f"{value}: {counts[value]:,}" for value in present)
    alt = f"Map of the places of {title} in longitude and latitude, coloured by {column}; blocks: {words}."
    detail = _caption(collection) if column == "split" else f"Blocks by region: {words}."
    caption = f"One square a block, {frame['block'].nunique():,} blocks. {detail}"
    return gallery.add(f"map-{collection.name}-{column}", figure, alt, caption)


def _tiles_map(collection: Collection, gallery: Gallery) -> Picture:
    """One panel a tile with its chips, coloured by split: on a map of all tiles they would cover each other."""
    from matplotlib.collections import PolyCollection

    tiles = collection.chips.groupby("source", sort=True)
    columns = 2 if len(tiles) <= 4 else 3
    lines = -(-len(tiles) // columns)
    figure, axes = themed_figure(0.7 + 4.4 * lines / columns, lines, columns)
    present = {}
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, chips) in zip(axes.flat, tiles, strict=False):
        for split, colour in SPLIT_COLOURS.items():
            squares = [np.asarray(g.exterior.coords) for g in chips.geometry[chips["split"] == split]]
            if squares:
                ax.add_collection(PolyCollection(squares, facecolor=colour, edgecolor=PAPER, lw=0.4))
                present[split] = colour
        ax.autoscale()
        ax.set_aspect(1 / np.cos(np.radians(chips.geometry.bounds["miny"].mean())))
        ax.set_title(name, fontsize=8, y=1.0)
    colour_key(figure, {split: colour for split, colour in SPLIT_COLOURS.items() if split in present})
    title = collection.note.title
    figure.suptitle(f"{title} ({collection.note.kind}): split within each tile", x=0.02, ha="left", size=11)
    alt = f"The chips of each of the {len(tiles)} tiles of {title}, coloured by split. {_caption(collection)}"
    return gallery.add(f"map-{collection.name}-tiles", figure, alt, "One square a chip, each tile at its own scale.")
