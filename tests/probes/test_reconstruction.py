"""Autoencoders on test chips: errors by hand, twins, the mean train chip, pictures, and what is refused."""

import numpy as np
import pytest
import torch

from pretraining import add_classes, make_optical, pretrain, specs
from terraprobe.artifacts import read_arrays, read_table, write_table
from terraprobe.chips.store import ChipStore
from terraprobe.collections.chiptable import drawn_first
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.encoders import Encoder, read_weights, with_twins
from terraprobe.errors import TerraprobeError
from terraprobe.probes.reconstruction import ReconstructRecipe, chip_errors, reconstruct_chips

NO_CLIMATE = "chip002"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    folder = add_classes(make_optical(tmp_path_factory.mktemp("reconstruction") / "land"))
    chips = read_table(folder / "chips.parquet")
    write_table(folder / "chips.parquet", chips.assign(block=chips["chip_id"]))
    return folder


@pytest.fixture(scope="module")
def auto(land, tmp_path_factory):
    torch.set_num_threads(1)
    return pretrain(land, tmp_path_factory.mktemp("auto") / "auto", method="bioclim", conditioning="cbn",
                    cbn_in="decoder")  # fmt: skip


def reconstruct(land, encoder, out, label="cover_class", **recipe):
    files = {"card": encoder / "card.json", "weights": encoder / "encoder.safetensors"}
    shared = {"chips": land / "chips.parquet", "stores": specs(land), "context": [land / "context.parquet"]}
    embed_chips(
        **shared, cards=[files["card"]], weights=[files["weights"]], embeddings=[out / "z.parquet"],
        recipe=EmbedRecipe(collection="land", random_inits=2),
    )  # fmt: skip
    classes = ("dark", "mid", "bright") if label else ()
    reconstruct_chips(
        **shared, **files, embeddings=out / "z.parquet", labels=[land / "labels.parquet"] if label else [],
        recipe=ReconstructRecipe(collection="land", label=label, classes=classes, random_inits=2, **recipe),
        errors=out / "errors.parquet", images=out / "images.npz",
    )  # fmt: skip
    return read_table(out / "errors.parquet"), read_arrays(out / "images.npz")


@pytest.fixture(scope="module")
def found(land, auto, tmp_path_factory):
    return reconstruct(land, auto, tmp_path_factory.mktemp("found"))


def pixels(land, ids):
    """What enters for some chips, (chip, band, y, x)."""
    store, all_ids = ChipStore.open(land / "chips/s2_l1c"), read_table(land / "chips.parquet")["chip_id"].tolist()
    images = np.stack([store.chip(all_ids.index(chip)) for chip in ids])
    return torch.tensor(np.clip(np.nan_to_num(images, nan=0.0), 0, 1), dtype=torch.float32)


def test_errors_of_constants():
    images, again = torch.full((2, 3, 16, 16), 0.25), torch.full((2, 3, 16, 16), 0.25)
    again[1] = 0.75
    l1, ssim = chip_errors(again, images)
    torch.testing.assert_close(l1, torch.tensor([0.0, 0.5]))
    luminance = (2 * 0.25 * 0.75 + 0.01**2) / (0.25**2 + 0.75**2 + 0.01**2)
    torch.testing.assert_close(ssim, torch.tensor([1.0, luminance]), atol=1e-4, rtol=0)


def test_the_decoder_is_kept_beside_the_tower(auto):
    names = {name.partition(".")[0] for name in read_weights(auto / "encoder.safetensors")}
    assert names == {"s2", "decoder"}


def test_a_row_for_each_test_chip_and_init(land, found):
    errors, _ = found
    chips = read_table(land / "chips.parquet")
    test = set(chips.loc[chips["split"] == "test", "chip_id"])
    assert errors["init"].unique().tolist() == ["trained", "random-0", "random-1", "mean"]
    assert (errors.groupby("init")["chip_id"].agg(set) == test).all()
    assert errors["l1"].between(0, 1).all()
    assert errors["ssim"].between(-1, 1).all()
    assert (errors.loc[errors["init"] == "mean", "called"].isna()).all()
    assert set(errors.loc[errors["init"] != "mean", "called"]) <= {"dark", "mid", "bright"}


def test_the_mean_train_chip_by_hand(land, found):
    errors, _ = found
    chips = read_table(land / "chips.parquet")
    train = [c for c in chips.loc[chips["split"] == "train", "chip_id"] if c not in ("chip001", NO_CLIMATE)]
    mean = pixels(land, train).mean(dim=0)
    own = errors[errors["init"] == "mean"].set_index("chip_id")
    images = pixels(land, own.index)
    np.testing.assert_allclose(own["l1"], (images - mean).abs().mean(dim=(1, 2, 3)), atol=1e-6)


def test_chips_are_given_back_by_what_was_trained(land, auto, found):
    """Loaded by hand: the tower without context, the decoder with the chip's own."""
    errors, pictures = found
    encoder, ids = Encoder.load(auto), pictures["chip_ids"].tolist()
    table = read_table(land / "context.parquet").set_index("chip_id").loc[ids]
    scale = encoder.inputs["s2"].context
    context = torch.from_numpy(scale.scale(table[list(scale.names)].to_numpy(float)))
    images = pixels(land, ids)
    with torch.inference_mode():
        again = encoder._modules["decoder"](encoder.module("s2")(images, context), context)
        other = encoder._modules["decoder"](encoder.module("s2")(images, context), context.flip(0))
    np.testing.assert_allclose(pictures["images"], again, atol=1e-5)
    assert not torch.allclose(again, other)
    own = errors[errors["init"] == "trained"].set_index("chip_id").loc[ids]
    np.testing.assert_allclose(own["l1"], (again - images).abs().mean(dim=(1, 2, 3)), atol=1e-6)


def test_twins_are_those_of_the_embeddings(land, auto, tmp_path):
    reconstruct(land, auto, tmp_path)
    z = read_table(tmp_path / "z.parquet")
    own = z[(z["init"] == "random-1") & (z["chip_id"] == "chip004")]["embedding"].iloc[0]
    twin = with_twins(Encoder.load(auto), 2)["random-1"]
    with torch.inference_mode():
        expected = twin.module("s2")(pixels(land, ["chip004"]), torch.zeros(1, 20))[0]
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_shown_chips_are_drawn_by_seed_and_bytes_are_equal(land, auto, found, tmp_path):
    _, pictures = found
    chips = read_table(land / "chips.parquet")
    test = chips.loc[chips["split"] == "test", "chip_id"].to_numpy(str)
    assert pictures["chip_ids"].tolist() == test[drawn_first(test, 0)[:4]].tolist()
    assert pictures["bands"].tolist()[:2] == ["B01", "B02"]
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        reconstruct(land, auto, out, seed=1)
    assert [(one / n).read_bytes() for n in ("errors.parquet", "images.npz")] == [
        (two / n).read_bytes() for n in ("errors.parquet", "images.npz")
    ]
    assert read_arrays(one / "images.npz")["chip_ids"].tolist() != pictures["chip_ids"].tolist()


def test_the_same_chips_are_drawn_first_whatever_others_are_there():
    ids = np.array([f"c{k}" for k in range(20)])
    order = ids[drawn_first(ids, 3)].tolist()
    fewer = ids[::2]
    assert fewer[drawn_first(fewer, 3)].tolist() == [chip for chip in order if chip in fewer]
    assert order != ids[drawn_first(ids, 4)].tolist()


def test_without_a_label_no_machine_learns(land, auto, tmp_path):
    errors, _ = reconstruct(land, auto, tmp_path, label="")
    assert errors["called"].isna().all()


def test_an_encoder_that_is_no_autoencoder_is_one_sentence(land, tmp_path):
    other = pretrain(land, tmp_path / "other", method="bioclim_supervised", epochs=1)
    with pytest.raises(TerraprobeError, match=r"card\.json: no card of an autoencoder beside"):
        reconstruct(land, other, tmp_path)


def test_no_test_chip_is_one_sentence(land, auto, tmp_path):
    chips = read_table(land / "chips.parquet")
    moved = make_optical(tmp_path / "land")
    write_table(moved / "chips.parquet", chips.assign(split=chips["split"].replace("test", "buffer")))
    with pytest.raises(TerraprobeError, match="encoder auto: can see no test chip of land"):
        reconstruct(moved, auto, tmp_path / "out", label="")


def test_a_broken_archive_is_one_sentence(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\\x03\\x04 not whole")
    with pytest.raises(TerraprobeError, match=r"a\.npz: not a whole NumPy archive"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(TerraprobeError, match=r"b\.npz: not found"):
        read_arrays(tmp_path / "b.npz")
