"""The batch that is drawn is the one that training begins with."""

import numpy as np
import pytest
import torch

from pretraining import TINY, TINY_RSBYOL, make_pairs, pretrain, specs
from terraprobe.artifacts import read_arrays, read_table
from terraprobe.augmentation import Augmentation
from terraprobe.augmented import AugmentRecipe, augment_chips
from terraprobe.chips.store import ChipStore
from terraprobe.errors import TerraprobeError


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    torch.set_num_threads(1)
    return make_pairs(tmp_path_factory.mktemp("augmented") / "land")


def augment(land, out, method="rsbyol", **changes):
    recipe = {**(TINY_RSBYOL if method == "rsbyol" else TINY), **changes}
    told = AugmentRecipe(method=method, collections=["land"], seed=3, recipe=recipe, shown=4)
    augment_chips(chips=[land / "chips.parquet"], stores=specs(land), recipe=told, views=out / "views.npz")
    return read_arrays(out / "views.npz")


@pytest.mark.parametrize(("views", "channels"), [("rsbyol1", 1), ("rsbyol3", 3)])
def test_it_is_what_the_first_step_of_training_sees(land, tmp_path, monkeypatch, views, channels):
    seen, real = [], Augmentation.__call__

    def remember(self, images, uniform):
        seen.append((images, real(self, images, uniform)))
        return seen[-1][1]

    monkeypatch.setattr(Augmentation, "__call__", remember)
    pretrain(land, tmp_path / "e", seed=3, method="rsbyol", views=views, epochs=1)
    first, second = seen[:2]
    found = augment(land, tmp_path, views=views, epochs=1)
    assert found["plain"].shape == found["augmented"].shape == (2, 4, channels, 32, 32)
    for number, (plain, after) in enumerate((first, second)):
        np.testing.assert_array_equal(found["plain"][number], plain[:4])
        np.testing.assert_array_equal(found["augmented"][number], after[:4])
    assert not np.array_equal(found["plain"], found["augmented"])


def test_bands_are_named_as_they_were_drawn(land, tmp_path):
    found = augment(land, tmp_path)
    ids = read_table(land / "chips.parquet")["chip_id"].tolist()
    stores = {name: ChipStore.open(land / "chips" / name) for name in ("s2_l1c", "s1_grd")}
    ends = {"s2_l1c": (0.0, 1.0), "s1_grd": (-25.0, 25.0)}
    assert set(found["bands"][1]) <= {"VV", "VH"}
    for number, name in enumerate(("s2_l1c", "s1_grd")):
        for place, (chip, band) in enumerate(zip(found["chip_ids"], found["bands"][number], strict=True)):
            store, (low, span) = stores[name], ends[name]
            own = store.physical(np.array([ids.index(chip)]), np.array([store.bands.index(band)]))[0]
            np.testing.assert_allclose(found["plain"][number, place, 0], np.clip((own - low) / span, 0, 1), atol=1e-5)
    triplets = augment(land, tmp_path / "three", views="rsbyol3")
    assert all(len(set(names.split("+"))) == 3 for names in triplets["bands"][0])
    assert all(set(names.split("+")) == {"VV", "VH"} for names in triplets["bands"][1])


def test_equal_bytes(land, tmp_path):
    for name in ("one", "two"):
        augment(land, tmp_path / name)
    assert (tmp_path / "one/views.npz").read_bytes() == (tmp_path / "two/views.npz").read_bytes()


def test_a_method_that_augments_nothing_is_one_sentence(land, tmp_path):
    towers = {"a": {"modality": "s2_l1c", "bands": ["B02"]}, "b": {"modality": "s1_grd", "bands": ["VV"]}}
    with pytest.raises(TerraprobeError, match="clip3 trains on chips as they are"):
        augment(land, tmp_path, "clip3", towers=towers)
