"""From few labels to a map: a probe learnt as a study learns one, a score on ground held out, and what is refused."""

from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from rasterio.transform import from_origin

from labelled_world import make_labelled
from pretraining import pretrain
from terraprobe.cli import main
from terraprobe.errors import TerraprobeError
from terraprobe.maplabels import _modalities
from terraprobe.modalities import MODALITIES

BANDS = MODALITIES["s2_l1c"].bands
LEFT, TOP, WIDTH, HEIGHT = 500_000, 5_800_000, 480, 384
FIELD_M = 160
CRS = "EPSG:32633"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Folders of an encoder without climate and of one with it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("encoders")
    land = make_labelled(folder / "land")
    wide = {"method": "bioclim", "width": 16, "blocks": [1], "epochs": 2}
    return {
        "plain": pretrain(land, folder / "plain", **wide),
        "climate": pretrain(land, folder / "climate", **wide, conditioning="emb"),
    }


def kinds():
    """Which of two crops grows in each field, (row, column)."""
    shape = HEIGHT * 10 // FIELD_M, WIDTH * 10 // FIELD_M
    return np.random.default_rng(0).integers(0, 2, shape)


def squares():
    """Fields as (west, north, crop), metres."""
    rows, columns = np.indices(kinds().shape)
    return LEFT + columns.ravel() * FIELD_M, TOP - rows.ravel() * FIELD_M, kinds().ravel()


@pytest.fixture
def ground(tmp_path):
    """A scene, fields in its north-west whose crop is known, and the area that holds them, in files."""
    per_field = FIELD_M // 10
    crop = kinds().repeat(per_field, 0).repeat(per_field, 1)
    noise = np.random.default_rng(1).normal(0, 60, (len(BANDS), HEIGHT, WIDTH))
    dn = 2000 + 900 * crop[None] * np.linspace(-1, 1, len(BANDS))[:, None, None] + noise
    write_scene(tmp_path / "scene.tif", dn)
    west, north, which = squares()
    known = np.arange(len(which)) % 3 > 0
    write_fields(tmp_path / "fields.gpkg", west[known], north[known], np.array(["Winter wheat", "Maize"])[which[known]])
    area = shapely.box(LEFT, TOP - 3600, LEFT + 4500, TOP)
    write_area(tmp_path / "area.geojson", area)
    return tmp_path


def write_scene(path, dn, bands=BANDS, crs=CRS):
    profile = {"driver": "GTiff", "height": dn.shape[1], "width": dn.shape[2], "count": len(dn), "dtype": "uint16",
               "transform": from_origin(LEFT, TOP, 10, 10), "nodata": 0, **({"crs": crs} if crs else {})}  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(dn.astype(np.uint16))
        out.descriptions = bands


def write_fields(path, west, north, crops):
    shapes = shapely.box(west, north - FIELD_M, west + FIELD_M, north)
    gpd.GeoDataFrame({"crop": crops, "empty": ""}, geometry=shapes, crs=CRS).to_file(path)


def write_area(path, shape, crs=CRS):
    gpd.GeoSeries([shape], crs=crs).to_crs("EPSG:4326").to_file(path)


def run(encoder, ground, *more, labels="fields.gpkg:crop"):
    given = ["--encoder", str(encoder), "--labels", str(ground / labels), "--aoi", str(ground / "area.geojson"),
             "--input", str(ground / "scene.tif"), "--output", str(ground / "map.tif")]  # fmt: skip
    return main(["map", *given, *more])


def test_a_map_says_how_good_it_is_on_ground_held_out(encoders, ground, capsys):
    assert run(encoders["plain"], ground) == 0
    said = capsys.readouterr().err
    with rasterio.open(ground / "map.tif") as found:
        called, percent = found.read()
        tags, names = found.tags(), found.tags(1)
        assert (found.width, found.height) == (450, 360) and found.crs == CRS
    assert set(names.values()) >= {"maize", "winter_wheat"}
    low, value, high = (float(tags[f"miou{end}"]) for end in ("_low", "", "_high"))
    assert value > 0.7 and low <= value <= high
    assert f"mIoU {tags['miou']} [{tags['miou_low']}, {tags['miou_high']}]" in tags["held_out"]
    assert f"held out: {tags['held_out']}" in said
    assert float(tags["floor_majority_class_miou"]) < 0.45
    assert int(tags["test_chips"]) >= 10 and int(tags["train_chips"]) > int(tags["test_chips"])
    assert tags["labels"] == "fields.gpkg:crop" and "geobands" in tags["split"]
    codes = {name: int(key.removeprefix("class_")) for key, name in names.items() if key.startswith("class_")}
    truth = np.array([codes["winter_wheat"], codes["maize"]])[kinds().repeat(16, 0).repeat(16, 1)[:360, :450]]
    assert (called > 0).all() and (called == truth).mean() > 0.8 and percent.max() <= 100
    assert not [path for path in ground.iterdir() if path.name.startswith(".")]


def test_codes_of_a_raster_are_classes_and_only_the_area_is_mapped(encoders, ground):
    codes = (kinds() + 1).repeat(16, 0).repeat(16, 1)
    codes[np.indices(codes.shape).sum(axis=0) // 16 % 3 == 0] = 0  # not known
    write_scene(ground / "codes.tif", codes[None], ("",))
    corner = shapely.Polygon([(LEFT, TOP), (LEFT + 4500, TOP), (LEFT, TOP - 3600)])
    write_area(ground / "area.geojson", corner)
    assert run(encoders["plain"], ground, labels="codes.tif") == 0
    with rasterio.open(ground / "map.tif") as found:
        called = found.read(1)
        assert found.tags()["labels"] == "codes.tif" and float(found.tags()["miou"]) > 0.6
    assert called[5, 5] and called[100, 100] and not called[350, 440] and not called[200, 300]


def _crossed(ground):
    write_area(ground / "area.geojson", shapely.Polygon([(LEFT, TOP), (LEFT + 4e3, TOP - 3e3), (LEFT + 4e3, TOP),
                                                         (LEFT, TOP - 3e3)]))  # fmt: skip


def _over_the_date_line(ground):
    write_area(ground / "area.geojson", shapely.Polygon([(179.9, 50), (-179.9, 50), (-179.9, 50.1), (179.9, 50.1)]),
               "EPSG:4326")  # fmt: skip


def _elsewhere(ground):
    west, north, which = squares()
    write_fields(ground / "fields.gpkg", west + 90_000, north, np.array(["a", "b"])[which])


def _rare(ground):
    west, north, which = squares()
    crops = np.array(["a", "b"], object)[which]
    crops[100] = "c"
    write_fields(ground / "fields.gpkg", west, north, crops)


def _area_beside_the_scene(ground):
    west, north, which = squares()
    write_fields(ground / "fields.gpkg", west + 90_000, north, np.array(["a", "b"])[which])
    write_area(ground / "area.geojson", shapely.box(LEFT + 90_000, TOP - 3600, LEFT + 94_500, TOP))


def _no_crs(ground):
    write_scene(ground / "scene.tif", np.full((len(BANDS), 40, 40), 900), crs=None)


def _four_bands(ground):
    write_scene(ground / "scene.tif", np.full((4, 40, 40), 900), BANDS[:4])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_crossed, "area.geojson: feature 0: Self-intersection"),
        (_over_the_date_line, "If it crosses the antimeridian, cut it there into two parts"),
        (_elsewhere, "lies outside the area"),
        (_rare, "class c is on"),
        (_area_beside_the_scene, "lies outside the files of --input"),
        (_no_crs, "has no CRS or no geotransform"),
        (_four_bands, "4 bands"),
        (lambda ground: (ground / "area.geojson").unlink(), "area.geojson is absent"),
    ],
)
def test_bad_inputs_get_one_sentence(encoders, ground, spoil, said, capsys):
    spoil(ground)
    assert run(encoders["plain"], ground) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1] and "Traceback" not in "".join(lines)
    assert not (ground / "map.tif").exists()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("fields.gpkg:empty", "column empty of"),
        ("fields.gpkg:kind", "no column 'kind'; give one of crop, empty"),
        ("none.tif", "none.tif is absent"),
    ],
)
def test_labels_that_say_nothing_are_refused(encoders, ground, labels, said, capsys):
    assert run(encoders["plain"], ground, labels=labels) == 1
    assert said in capsys.readouterr().err


def test_an_encoder_that_takes_climate_is_refused(encoders, ground, capsys):
    assert run(encoders["climate"], ground) == 1
    assert "climate takes climate and elevation beside the image" in capsys.readouterr().err
    assert run(ground, ground) == 1
    assert "card.json: not found" in capsys.readouterr().err


def test_of_several_sensors_one_may_be_lacking(tmp_path):
    seen = {tower: SimpleNamespace(modality=name) for tower, name in (("a", "s2_l1c"), ("b", "s1_grd"))}
    encoder = SimpleNamespace(name="both", inputs=seen)
    with pytest.raises(TerraprobeError, match="has none of the sub-folders s1_grd, s2_l1c, which both sees"):
        _modalities(encoder, [tmp_path])
    (tmp_path / "s2_l1c").mkdir()
    assert _modalities(encoder, [tmp_path]) == ["s2_l1c"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--encoder", "e"], "--encoder needs --labels and --aoi beside it"),
        (["--model", "m", "--labels", "f.gpkg:c"], "--labels and --aoi stand beside --encoder"),
        ([], "one of the arguments --model --encoder is required"),
    ],
)
def test_what_belongs_together_is_asked_for(given, said, capsys):
    with pytest.raises(SystemExit):
        main(["map", *given, "--input", "x.tif", "--output", "y.tif"])
    assert said in capsys.readouterr().err
