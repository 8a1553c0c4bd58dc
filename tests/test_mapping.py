"""Maps of scenes: no seams, the right ground, little memory held, and what is refused."""

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin
from torch import nn

from labelled_world import CLASSES, inputs, make_labelled
from pretraining import SIDE, pretrain
from terraprobe.artifacts import read_json, write_json
from terraprobe.classcolours import class_colours, rgb
from terraprobe.cli import main
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.mapping import map_rows, write_map
from terraprobe.mapscene import Scene
from terraprobe.modalities import MODALITIES
from terraprobe.models.segmenter import Segmenter
from terraprobe.probes.segmentation import segment_chips, select_segmentation
from terraprobe.probes.segmentation_fit import ProbeRecipe
from terraprobe.probes.segmentation_model import ProbeModel

BANDS = MODALITIES["s2_l1c"].bands


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Folder of a fitted probe."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("map")
    land = make_labelled(folder / "land")
    encoder = pretrain(land, folder / "auto", method="bioclim", epochs=1)
    recipe = ProbeRecipe(evaluation="cover", collection="land", label="worldcover", classes=CLASSES, sizes=(0,),
                         lrs=(0.1,), steps=20, batch_size=8, shown=0)  # fmt: skip
    given, out = inputs(land, encoder, recipe=recipe), folder / "probe"
    select_segmentation(**given, selection=out / "selection.json")
    segment_chips(**given, strata=[], selection=out / "selection.json", counts=out / "counts.parquet",
                  maps=out / "maps.npz", model=out / "model.safetensors", model_card=out / "card.json")  # fmt: skip
    return out


class _Alone(nn.Module):
    """A tower that looks at each pixel by itself."""

    def pixels(self, images, context=None):
        return images


@pytest.fixture
def alone(probe):
    """A model whose classes are known pixel by pixel: tree where B02 is highest, crop where B03 is, water else."""
    card = read_json(probe / "card.json")
    encoder = Encoder.random_init(card["encoder"]["card"], 0)
    head = nn.Conv2d(len(BANDS), 3, 1, bias=False)
    with torch.no_grad():
        head.weight.zero_()
        for row, band in enumerate(("B02", "B03", "B04")):
            head.weight[row, BANDS.index(band)] = 50.0
    return ProbeModel(card, encoder, Segmenter(_Alone(), head))


def write_scene(path, dn, *, left=500_000, top=5_800_000, bands=BANDS, **tags):
    """A GeoTIFF of 10 m."""
    profile = {"driver": "GTiff", "height": dn.shape[1], "width": dn.shape[2], "count": len(dn), "dtype": "uint16",
               "crs": "EPSG:32633", "transform": from_origin(left, top, 10, 10), "nodata": 0}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as out:
        out.write(dn.astype(np.uint16))
        out.descriptions = bands
        out.update_tags(**tags)
    return path


def scene_of(*paths, bands=None):
    return Scene.open(paths, bands or {"s2_l1c": BANDS}, None)


def random_scene(height, width, seed=0):
    return np.random.default_rng(seed).integers(500, 6000, (len(BANDS), height, width))


@pytest.mark.parametrize("size", [(100, 77), (32, 32), (20, 50)])
def test_pixels_are_called_whatever_the_chips(tmp_path, alone, size):
    dn = random_scene(*size)
    dn[4, 3, 5] = 0  # one band of one pixel was not observed
    write_map(alone, scene_of(write_scene(tmp_path / "in.tif", dn)), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as found:
        called, percent = found.read()
        assert found.crs.to_epsg() == 32633 and found.transform == from_origin(500_000, 5_800_000, 10, 10)
        assert found.nodata == 0 and found.descriptions == ("class", "probability (%)")
        colours, tags = found.colormap(1), found.tags(1)
    seen = np.clip(dn[[BANDS.index(b) for b in ("B02", "B03", "B04")]] / 1e4, 0, 1)
    expected = np.array([10, 40, 80])[seen.argmax(axis=0)]
    expected[3, 5] = 0
    np.testing.assert_array_equal(called, expected)
    shares = np.exp(50 * seen) / np.exp(50 * seen).sum(axis=0)
    wanted = np.where(expected == 0, 0, 100 * shares.max(axis=0))
    np.testing.assert_allclose(percent, wanted, atol=0.51)
    assert colours[40][:3] == rgb(class_colours(["tree", "crop", "water"])["crop"]) and tags["class_80"] == "water"


def test_a_constant_scene_has_no_seam(tmp_path, alone, probe):
    path = write_scene(tmp_path / "in.tif", np.tile(np.arange(1000, 1013)[:, None, None], (1, 150, 131)))
    flat = np.concatenate([rows for _, rows in map_rows(alone, scene_of(path))], axis=1)
    assert all(len(np.unique(band)) == 1 for band in flat)
    # A network that sees a chip's edges calls its pixels differently: what it says must not jump where chips begin.
    model = ProbeModel.load(probe)
    _, percent = np.concatenate([rows for _, rows in map_rows(model, scene_of(path))], axis=1).astype(int)
    across = np.abs(np.diff(percent, axis=1)).max(axis=0)
    begins = np.isin(np.arange(1, 131) % (SIDE // 2), 0)
    assert across[begins].max() <= across[~begins].max() + 1


def test_files_side_by_side_are_one_scene(tmp_path, alone):
    dn = random_scene(64, 96)
    whole = scene_of(write_scene(tmp_path / "whole.tif", dn))
    folder = tmp_path / "parts"
    write_scene(folder / "a.tif", dn[:, :, :40])
    write_scene(folder / "b.tif", dn[:, :, 40:], left=500_400)
    named = tmp_path / "named/s2_l1c"
    named.parent.mkdir()
    for given in (folder, named.parent):
        if given == named.parent:
            folder.rename(named)
        parts = scene_of(given)
        assert parts.grid == whole.grid
        for (_, one), (_, other) in zip(map_rows(alone, whole), map_rows(alone, parts), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_scene_in_degrees_is_mapped_in_its_zone(tmp_path, alone):
    path = write_scene(tmp_path / "in.tif", random_scene(40, 40))
    with rasterio.open(path, "r+") as scene:
        scene.crs, scene.transform = "EPSG:4326", from_origin(13.0, 52.0, 1e-4, 1e-4)
    grid = scene_of(path).grid
    assert grid.crs == "EPSG:32633" and grid.left % 10 == grid.top % 10 == 0
    assert 27 <= grid.width <= 30 and 44 <= grid.height <= 47  # 40 steps of 6.9 m and of 11.1 m


def test_a_scene_is_read_a_slab_at_a_time(tmp_path, alone, monkeypatch):
    path = write_scene(tmp_path / "in.tif", random_scene(120, 40))
    whole = [rows for _, rows in map_rows(alone, scene_of(path))]
    monkeypatch.setattr("terraprobe.mapscene.SLAB_BYTES", 13 * 2 * 40 * 7)
    for one, other in zip(whole, (rows for _, rows in map_rows(alone, scene_of(path))), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_command_writes_a_map(tmp_path, probe, capsys):
    path = write_scene(tmp_path / "in.tif", random_scene(40, 40))
    assert main(["map", "--model", str(probe), "--input", str(path), "--output", str(tmp_path / "map.tif")]) == 0
    with rasterio.open(tmp_path / "map.tif") as found:
        assert found.shape == (40, 40) and "auto, tower s2, linear" in found.tags()["model"]
    assert "40 x 40 pixels, 3 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: folder / "absent.tif", "absent.tif: not found. Give GeoTIFFs, or a folder of them"),
        (lambda folder: folder, "holds no GeoTIFF"),
        (lambda folder: write_scene(folder / "x.tif", random_scene(40, 40), bands=("B02",) * 13), "two bands are"),
        (lambda folder: write_scene(folder / "x.tif", random_scene(40, 40)[:4], bands=BANDS[:4]), "4 bands"),
        (
            lambda folder: write_scene(folder / "x.tif", random_scene(40, 40), PROCESSING_BASELINE="05.10"),
            "carry an offset of 1000",
        ),
    ],
)
def test_bad_inputs_get_one_sentence(tmp_path, spoil, said):
    with pytest.raises(TerraprobeError, match=said):
        scene_of(spoil(tmp_path))


def test_places_far_apart_are_no_scene(tmp_path):
    one = write_scene(tmp_path / "a.tif", random_scene(8, 8))
    other = write_scene(tmp_path / "b.tif", random_scene(8, 8), top=3_000_000)
    with pytest.raises(TerraprobeError, match="Map places that lie far apart one by one"):
        scene_of(one, other)


def test_bad_models_get_one_sentence(tmp_path, probe):
    card = read_json(probe / "card.json")
    with pytest.raises(TerraprobeError, match=r"card\.json: not found"):
        ProbeModel.load(tmp_path)
    write_json(tmp_path / "card.json", {"method": "clip3"})
    with pytest.raises(TerraprobeError, match="no fitted probe of pixels"):
        ProbeModel.load(tmp_path)
    write_json(tmp_path / "card.json", card | {"channels": 5})
    (tmp_path / "model.safetensors").write_bytes((probe / "model.safetensors").read_bytes())
    with pytest.raises(TerraprobeError, match="not the weights that"):
        ProbeModel.load(tmp_path)
