"""`bioclim` trained and put to use: resuming, the card, embeddings in context, and what is refused."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch

from pretraining import CHIPS, TINY_BIOCLIM, make_optical, pretrain, specs
from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.chips.store import ChipStore
from terraprobe.collections.chiptable import CONTEXT, read_context
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.pool import ChipPool

FILES = ("encoder.safetensors", "card.json", "history.parquet")
NO_BAND, NO_CLIMATE = 1, 2  # chips of the small world that lack something


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_optical(tmp_path_factory.mktemp("bioclim") / "land")


@pytest.fixture(scope="module")
def conditioned(land, tmp_path_factory):
    """A conditioned encoder."""
    torch.set_num_threads(1)
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "cbn", method="bioclim", conditioning="cbn")


def test_history_card_and_what_was_left_out(conditioned):
    history = pd.read_parquet(conditioned / "history.parquet")
    assert len(history) == TINY_BIOCLIM["epochs"]
    assert history["val_loss"].is_monotonic_decreasing
    card = read_json(conditioned / "card.json")
    assert (card["chips"], card["chips_left_out"]) == ({"train": 22, "val": 8}, {"train": 2, "val": 0})
    assert card["towers"]["s2"]["whole"] is True
    assert card["towers"]["s2"]["context"]["names"] == list(CONTEXT)
    assert "context" in card["data"]["land"]


def contents(encoder):
    return {name: (encoder / name).read_bytes() for name in FILES}


def test_another_context_is_another_training(land, tmp_path):
    folder = make_optical(tmp_path / "land")
    pretrain(folder, tmp_path / "encoder", method="bioclim", conditioning="cbn", epochs=1)
    table = read_table(folder / "context.parquet")
    table["bio01"] = table["bio01"].to_numpy()[::-1]
    write_table(folder / "context.parquet", table)
    pretrain(folder, tmp_path / "encoder", method="bioclim", conditioning="cbn", epochs=1)
    assert len(list((tmp_path / "encoder").glob("state-*"))) == 2


def test_training_without_context_is_refused(land, tmp_path):
    folder = make_optical(tmp_path / "land")
    (folder / "context.parquet").unlink()
    with pytest.raises(TerraprobeError, match=r"no train chip of land has all 20 values .* set conditioning to none"):
        pretrain(folder, tmp_path / "encoder", method="bioclim", conditioning="emb")


def test_a_context_of_no_collection_is_refused(land, tmp_path):
    other = make_optical(tmp_path / "other")
    with pytest.raises(TerraprobeError, match=r"other/context\.parquet: belongs to none of the collections land"):
        ChipPool([land / "chips.parquet"], specs(land), [other / "context.parquet"])


def embed(collection, encoder, out, context=True):
    embed_chips(
        chips=collection / "chips.parquet",
        stores=specs(collection),
        context=[collection / "context.parquet"] if context else [],
        cards=[encoder / "card.json"],
        weights=[encoder / "encoder.safetensors"],
        recipe=EmbedRecipe(collection="land", random_inits=1),
        embeddings=[out],
    )
    return gpd.read_parquet(out)


def test_embeddings_are_those_of_whole_chips_in_their_climate(land, conditioned, tmp_path):
    table = embed(land, conditioned, tmp_path / "land.parquet")
    chips = [chip for chip in range(CHIPS) if chip not in (NO_BAND, NO_CLIMATE)]
    assert set(table["modality"]) == {"s2"}
    assert set(table["channels_used"]) == {13}
    for init in ("trained", "random-0"):
        assert [int(chip[-3:]) for chip in table.loc[table["init"] == init, "chip_id"]] == chips
    context = read_context(land / "context.parquet", read_table(land / "chips.parquet")["chip_id"].to_numpy())
    store = ChipStore.open(land / "chips/s2_l1c")
    loaded = Encoder.load(conditioned)
    rows, samples = np.array(chips), np.zeros(len(chips), np.intp)
    expected = loaded.embed("s2", store, rows, samples, context)
    trained = np.stack(table.loc[table["init"] == "trained", "embedding"].to_list())
    np.testing.assert_allclose(trained, expected, atol=1e-6)
    assert np.abs(expected - loaded.embed("s2", store, rows, samples, context + 5)).max() > 0.01


def test_order_of_the_chips_does_not_matter(land, conditioned, tmp_path):
    shuffled = make_optical(tmp_path / "land", order=np.random.default_rng(0).permutation(CHIPS))
    one, two = (
        embed(folder, conditioned, tmp_path / f"{number}.parquet").set_index(["init", "chip_id"])["embedding"]
        for number, folder in enumerate((land, shuffled))
    )
    for place, row in one.items():
        np.testing.assert_allclose(two[place], row, atol=1e-5)


def test_an_encoder_that_takes_context_is_not_used_without(land, conditioned, tmp_path):
    with pytest.raises(TerraprobeError, match=r"encoder cbn, tower s2: takes context \(bio01, .*, elevation\), but "):
        embed(land, conditioned, tmp_path / "land.parquet", context=False)
