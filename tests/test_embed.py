"""Embedding: what a row is, that order does not matter, and what is refused."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch

from pretraining import CHANNELS, CHIPS, POISON, TINY, make_collection, make_store, pretrain, specs
from terraprobe.artifacts import read_json, read_table, sha256_file, table_metadata, write_json, write_table
from terraprobe.chips.store import MIN_VALID, ChipStore
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.probes.features import read_feature_sets

TOWERS = sorted(CHANNELS)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("embed") / "land")


@pytest.fixture(scope="module")
def encoder(land, tmp_path_factory):
    torch.set_num_threads(1)
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "tiny", epochs=1)


def embed(collection, encoders, out, **recipe):
    """Embed; returns the paths of the tables."""
    tables = [out / encoder.name / "land.parquet" for encoder in encoders]
    embed_chips(
        chips=collection / "chips.parquet",
        stores=specs(collection),
        context=[],
        cards=[encoder / "card.json" for encoder in encoders],
        weights=[encoder / "encoder.safetensors" for encoder in encoders],
        recipe=EmbedRecipe(collection="land", random_inits=recipe.pop("random_inits", 2), **recipe),
        embeddings=tables,
    )
    return tables


def test_cards_and_weights_are_of_the_same_encoders(land, encoder, tmp_path):
    with pytest.raises(TerraprobeError, match="1 cards, 0 weights and 1 outputs; one each for every encoder"):
        embed_chips(
            chips=land / "chips.parquet",
            stores=specs(land),
            context=[],
            cards=[encoder / "card.json"],
            weights=[],
            recipe=EmbedRecipe(collection="land"),
            embeddings=[tmp_path / "land.parquet"],
        )


@pytest.fixture(scope="module")
def table(land, encoder, tmp_path_factory):
    return gpd.read_parquet(embed(land, [encoder], tmp_path_factory.mktemp("tables"))[0])


def values(table, init, modality):
    rows = table[(table["init"] == init) & (table["modality"] == modality)]
    return dict(zip(rows["chip_id"], rows["embedding"], strict=True))


def test_rows_are_the_chips_that_have_the_tower(land, table):
    assert set(table["init"]) == {"trained", "random-0", "random-1"}
    having = {}
    for name in TOWERS:
        usable = ChipStore.open(land / "chips" / name).valid >= MIN_VALID
        having[name] = usable.sum(axis=1)
        rows = table[(table["init"] == "trained") & (table["modality"] == name)]
        chips = [int(chip[-3:]) for chip in rows["chip_id"]]
        assert chips == np.flatnonzero(having[name]).tolist()
        assert rows["channels_used"].tolist() == having[name][chips].tolist()
        assert {len(e) for e in rows["embedding"]} == {TINY["projection"]}
    together = table[(table["init"] == "random-1") & (table["modality"] == "concat")]
    everywhere = np.flatnonzero(np.all([count > 0 for count in having.values()], axis=0))
    assert [int(chip[-3:]) for chip in together["chip_id"]] == everywhere.tolist()
    assert {len(e) for e in together["embedding"]} == {3 * TINY["projection"]}
    assert together["channels_used"].tolist() == sum(having.values())[everywhere].tolist()


def test_concat_is_the_towers_side_by_side(table):
    parts = [values(table, "trained", name) for name in TOWERS]
    for chip, joined in values(table, "trained", "concat").items():
        np.testing.assert_array_equal(joined, np.concatenate([part[chip] for part in parts]))


def test_geometry_and_split_come_along(land, table):
    chips = gpd.read_parquet(land / "chips.parquet").set_index("chip_id")
    assert table.crs == chips.crs
    assert (table["split"].to_numpy() == chips.loc[table["chip_id"], "split"].to_numpy()).all()
    assert table.geometry.geom_equals(chips.geometry.loc[table["chip_id"]].reset_index(drop=True)).all()


def test_mean_is_over_the_usable_channels(land, encoder, table):
    loaded = Encoder.load(encoder)
    store = ChipStore.open(land / "chips" / "s1_grd_monthly")
    for chip in (0, 7):
        bands = np.flatnonzero(store.valid[chip] >= MIN_VALID)
        single = loaded.embed("s1_grd_monthly", store, np.full(len(bands), chip), bands)
        expected = single.mean(axis=0)
        np.testing.assert_allclose(values(table, "trained", "s1_grd_monthly")[f"chip{chip:03d}"], expected, atol=1e-5)


def test_paper_mode_takes_one_usable_channel(land, encoder, tmp_path):
    table = gpd.read_parquet(embed(land, [encoder], tmp_path, channels="random", random_inits=0)[0])
    assert (table.loc[table["modality"] != "concat", "channels_used"] == 1).all()
    loaded = Encoder.load(encoder)
    store = ChipStore.open(land / "chips" / "s2_rgb_monthly")
    chosen = set()
    for chip, row in values(table, "trained", "s2_rgb_monthly").items():
        number = int(chip[-3:])
        bands = np.flatnonzero(store.valid[number] >= MIN_VALID)
        single = loaded.embed("s2_rgb_monthly", store, np.full(len(bands), number), bands)
        fits = np.flatnonzero(np.abs(single - row).max(axis=1) < 1e-5)
        assert len(fits) == 1
        chosen.add(int(bands[fits[0]]))
    assert len(chosen) > 4


@pytest.mark.parametrize("channels", ["mean", "random"])
def test_order_of_the_chips_does_not_matter(land, encoder, tmp_path, channels):
    order = np.random.default_rng(0).permutation(CHIPS)
    shuffled = make_collection(tmp_path / "land", order=order)
    one, two = (
        gpd.read_parquet(embed(c, [encoder], tmp_path / str(n), channels=channels, random_inits=1)[0])
        for n, c in enumerate((land, shuffled))
    )
    for init in ("trained", "random-0"):
        for name in [*TOWERS, "concat"]:
            a, b = values(one, init, name), values(two, init, name)
            assert set(a) == set(b)
            for chip, row in a.items():
                np.testing.assert_allclose(b[chip], row, atol=1e-5)


def test_equal_bytes_and_the_encoders_digest(land, encoder, tmp_path):
    first, second = (embed(land, [encoder], tmp_path / name)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    metadata = table_metadata(first)
    assert metadata["encoder"] == "tiny"
    assert metadata["encoder_sha256"] == sha256_file(encoder / "encoder.safetensors")


def test_every_feature_set_has_the_digest_of_its_own_encoder(land, encoder, tmp_path):
    path = embed(land, [encoder], tmp_path)[0]
    metadata = table_metadata(path)
    by_init = json.loads(metadata["encoder_sha256_by_init"])
    assert list(by_init) == ["random-0", "random-1", "trained"]
    assert by_init["trained"] == metadata["encoder_sha256"]
    assert len(set(by_init.values())) == 3
    table = read_table(path)
    chips = pd.DataFrame({"chip_id": sorted(set(table["chip_id"]))})
    assert {s.init: s.encoder_sha256 for s in read_feature_sets([path], chips)} == by_init
    write_table(tmp_path / "older.parquet", table, {"encoder": "tiny", "encoder_sha256": "abc"})
    assert {s.encoder_sha256 for s in read_feature_sets([tmp_path / "older.parquet"], chips)} == {"abc"}


def test_untrained_twins_differ_from_each_other_and_from_the_trained(table):
    rows = [np.stack(list(values(table, init, "s1_coherence").values())) for init in sorted(set(table["init"]))]
    for i, one in enumerate(rows):
        for two in rows[i + 1 :]:
            assert np.abs(one - two).max() > 0.05


def test_random_init_leaves_the_global_random_state_alone(encoder):
    card = read_json(encoder / "card.json")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Encoder.random_init(card, 1)
    torch.testing.assert_close(torch.rand(3), expected)


def test_a_collection_with_one_of_the_modalities_is_embedded_without_concat(encoder, tmp_path):
    part = make_collection(tmp_path / "land", modalities=("s1_grd_monthly",))
    table = gpd.read_parquet(embed(part, [encoder], tmp_path / "out")[0])
    assert set(table["modality"]) == {"s1_grd_monthly"}


def empty_tower(collection, modality):
    """Replace a store by one without a usable channel."""
    pixels = np.full((CHIPS, CHANNELS[modality], 32, 32), POISON)
    make_store(collection / "chips" / modality, modality, pixels, np.full(pixels.shape[:2], 0.3, np.float32))


@pytest.mark.parametrize("channels", ["mean", "random"])
def test_a_tower_without_a_usable_channel_is_left_out(land, encoder, tmp_path, capfd, channels):
    part = make_collection(tmp_path / "land")
    empty_tower(part, "s1_coherence")
    table = gpd.read_parquet(embed(part, [encoder], tmp_path / "out", channels=channels)[0])
    assert set(table["modality"]) == {"s1_grd_monthly", "s2_rgb_monthly"}
    told = "embed land with tiny: no chip has a usable channel of s1_coherence; embedded without\n"
    assert told in capfd.readouterr().err
    whole = gpd.read_parquet(embed(land, [encoder], tmp_path / "whole", channels=channels)[0])
    assert values(table, "random-0", "s1_grd_monthly").keys() == values(whole, "random-0", "s1_grd_monthly").keys()


def test_a_collection_without_any_usable_channel_is_refused(encoder, tmp_path):
    part = make_collection(tmp_path / "land", modalities=("s1_coherence", "s1_grd_monthly"))
    for modality in ("s1_coherence", "s1_grd_monthly"):
        empty_tower(part, modality)
    message = r"encoder tiny, collection land: no chip has a usable channel, .* \(s1_coherence, s1_grd_monthly\)\. Look"
    with pytest.raises(TerraprobeError, match=message):
        embed(part, [encoder], tmp_path / "out")


def test_towers_that_share_no_chip_have_no_concat(encoder, tmp_path):
    part = make_collection(tmp_path / "land")
    for number, modality in enumerate(TOWERS):
        pixels = np.full((CHIPS, CHANNELS[modality], 32, 32), 2000)
        valid = np.repeat(np.arange(CHIPS)[:, None] % 3 == number, pixels.shape[1], axis=1).astype(np.float32)
        make_store(part / "chips" / modality, modality, pixels, valid)
    table = gpd.read_parquet(embed(part, [encoder], tmp_path / "out")[0])
    assert set(table["modality"]) == set(TOWERS)
    assert table["channels_used"].dtype.kind == "i"


def test_an_encoder_that_fits_nothing_is_refused(encoder, tmp_path):
    collection = make_collection(tmp_path / "land", modalities=("s1_grd_monthly",))
    other = spoil(encoder, tmp_path / "optical")
    card = read_json(other / "card.json")
    for tower in card["towers"].values():
        tower["modality"] = "s2_l2a"
    write_json(other / "card.json", card)
    with pytest.raises(TerraprobeError, match="encoder optical reads s2_l2a, but collection land has s1_grd_monthly"):
        embed(collection, [other], tmp_path / "out")


def spoil(encoder, folder):
    """A copy of an encoder."""
    folder.mkdir()
    for name in ("card.json", "encoder.safetensors"):
        (folder / name).write_bytes((encoder / name).read_bytes())
    return folder


def store_of(folder, modality, side=32, **other):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1000, 3000, (CHIPS, CHANNELS[modality], side, side))
    make_store(folder, modality, pixels, np.ones(pixels.shape[:2], np.float32), **other)
    return ChipStore.open(folder)


@pytest.mark.parametrize(
    ("side", "other", "words"),
    [
        (32, {"unit": "dn"}, "made for s1_grd_monthly in backscatter_db, but the store holds dn"),
        (32, {"bands": tuple(f"m{k}_HH" for k in range(9))}, "made for bands m1_VV, .* but the store has m0_HH"),
        (16, {}, "made for chips of 32 px, but the store has 16 px"),
    ],
)
def test_a_store_that_the_encoder_was_not_made_for_is_refused(encoder, tmp_path, side, other, words):
    store = store_of(tmp_path / "store", "s1_grd_monthly", side, **other)
    with pytest.raises(TerraprobeError, match=words):
        Encoder.load(encoder).embed("s1_grd_monthly", store, np.array([0]), np.array([0]))


def test_bands_are_found_by_name_not_by_position(encoder, land, tmp_path):
    store = ChipStore.open(land / "chips" / "s1_grd_monthly")
    pixels = np.stack([store.digital(np.full(9, c), np.arange(9)) for c in range(CHIPS)])
    turned = tmp_path / "turned"
    make_store(turned, "s1_grd_monthly", pixels[:, ::-1], store.valid[:, ::-1], bands=store.bands[::-1])
    loaded, rows, bands = Encoder.load(encoder), np.arange(8), np.arange(8)
    one = loaded.embed("s1_grd_monthly", store, rows, bands)
    np.testing.assert_array_equal(loaded.embed("s1_grd_monthly", ChipStore.open(turned), rows, bands), one)


def test_a_unit_change_with_its_scale_changes_nothing(encoder, land, tmp_path):
    store = ChipStore.open(land / "chips" / "s1_grd_monthly")
    pixels = np.stack([store.digital(np.full(9, c), np.arange(9)) for c in range(CHIPS)]).astype(np.int64)
    kept = np.where(pixels == store.layer.nodata, pixels, 2 * pixels)
    make_store(tmp_path / "finer", "s1_grd_monthly", kept, store.valid, scale=store.layer.scale / 2)
    loaded, rows = Encoder.load(encoder), np.arange(8)
    one = loaded.embed("s1_grd_monthly", store, rows, rows)
    two = loaded.embed("s1_grd_monthly", ChipStore.open(tmp_path / "finer"), rows, rows)
    np.testing.assert_allclose(two, one, atol=1e-5)


@pytest.mark.parametrize("damage", ["truncated", "absent", "of another architecture"])
def test_broken_weights_are_one_sentence(encoder, tmp_path, damage):
    folder = spoil(encoder, tmp_path / "broken")
    weights = folder / "encoder.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "absent":
        weights.unlink()
    else:
        card = read_json(folder / "card.json")
        card["recipe"]["depth"] += 1
        write_json(folder / "card.json", card)
    with pytest.raises(TerraprobeError, match=r"encoder.safetensors: not (found|the weights)"):
        Encoder.load(folder)
