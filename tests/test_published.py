"""Weights from a file: every layout of the table, what is refused, and an encoder that starts from them."""

import os
import pickle

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from pretraining import TINY_RSBYOL, make_pairs, pretrain, specs
from terraprobe.artifacts import read_json, read_table
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.models.bottleneck import BottleneckResNet
from terraprobe.published import LAYOUTS, load_published
from terraprobe.study.encoders import EncoderEntry
from terraprobe.towers import SHARED
from terraprobe.train import PretrainRecipe, pretrain_encoder

BLOCKS = (1, 2, 1, 1)
TRIPLETS = {"rgb": {"modality": "s2_l1c", "bands": ["B04", "B03", "B02"]}, "ms": {"modality": "s2_l1c"},
            "sar": {"modality": "s1_grd", "bands": ["VV", "VH", "VV"]}}  # fmt: skip


def network(seed, bands=3):
    torch.manual_seed(seed)
    found = BottleneckResNet(bands, 4, BLOCKS)
    found(torch.rand(4, bands, 32, 32))  # running statistics of its own
    return found


def as_published(layout, weights):
    """The file's content, written as its source does it, with what else such a file holds."""
    extra = torch.zeros(3)
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    if layout == "resnet50":
        return {**weights, "fc.weight": extra, "fc.bias": extra}
    if layout == "deeplabv3_resnet50":
        return {**{f"backbone.{k}": v for k, v in weights.items()}, "classifier.0.convs.0.0.weight": extra}
    if layout == "terraprobe":
        return {f"encoder.{k}": v for k, v in weights.items()}
    if layout == "byol":
        inner = {f"anything.{place}": v for place, v in enumerate(weights.values())}
        return {"epoch": 299, "online_backbone": {**inner, "fc": extra}, "predictor": {"0.weight": extra}}
    query = {f"encoder_q.{numbers[k.partition('.')[0]]}.{k.partition('.')[2]}": v for k, v in weights.items()}
    key = {k.replace("encoder_q", "encoder_k"): torch.zeros_like(v) for k, v in query.items()}
    return {"epoch": 199, "state_dict": {"queue": extra, **query, **key, "heads_q.0.0.weight": extra}}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_network_back(tmp_path, layout):
    theirs, ours = network(1), network(2)
    torch.save(as_published(layout, theirs.state_dict()), tmp_path / "weights.pth")
    load_published(tmp_path / "weights.pth", layout, ours)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def test_safetensors_are_read_and_counters_may_lack(tmp_path):
    theirs, ours = network(1), network(2)
    kept = {k: v.contiguous() for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "weights.safetensors")
    load_published(tmp_path / "weights.safetensors", "resnet50", ours)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_a_file_in_another_layout_is_listed(tmp_path):
    torch.save(as_published("deeplabv3_resnet50", network(1).state_dict()), tmp_path / "coco.pth")
    ours = network(2)
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    with pytest.raises(TerraprobeError) as caught:
        load_published(tmp_path / "coco.pth", "resnet50", ours)
    said = str(caught.value)
    assert "0 of" in said and "not found: conv1.weight, bn1.weight" in said and "more; of another shape: none" in said
    assert "resnet50, deeplabv3_resnet50, byol, seco, terraprobe" in said
    assert all(torch.equal(ours.state_dict()[k], v) for k, v in before.items())


def test_other_shapes_are_listed_with_both(tmp_path):
    torch.save(network(1).state_dict(), tmp_path / "three.pth")
    with pytest.raises(TerraprobeError, match=r"conv1.weight is \(4, 3, 7, 7\), here \(4, 1, 7, 7\).*rsbyol3"):
        load_published(tmp_path / "three.pth", "resnet50", network(2, bands=1))


class Bomb:
    """A pickle whose reading makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_no_code_of_a_file_runs(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bomb.pth"
    content = {**network(1).state_dict(), "bomb": Bomb()}
    torch.save(content, path) if write == "torch" else path.write_bytes(pickle.dumps(Bomb(), 2))
    with pytest.raises(TerraprobeError, match=r"holds more than tensors|cannot be read") as caught:
        load_published(path, "resnet50", network(2))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["no.pth", "cut.pth", "cut.safetensors", "list.pth"])
def test_files_that_are_no_weights_are_refused_in_a_sentence(tmp_path, name):
    path = tmp_path / name
    if name.startswith("cut"):
        path.write_bytes(b"PK\x03\x04 not the rest")
    if name == "list.pth":
        torch.save([torch.zeros(2)], path)
    with pytest.raises(TerraprobeError, match=r"not found|cannot be read|holds (a list|more than tensors)"):
        load_published(path, "resnet50", network(2))


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("published") / "land")


def start(land, out, file, epochs):
    pretrain_encoder(
        chips=[land / "chips.parquet"], stores=specs(land), context=[], labels=[], start=[file],
        recipe=PretrainRecipe(
            method="rsbyol", collections=["land"], layout="resnet50",
            recipe={**TINY_RSBYOL, "views": "rsbyol3", "towers": TRIPLETS, "blocks": list(BLOCKS), "epochs": epochs},
        ),
        weights=out / "encoder.safetensors", card=out / "card.json", history=out / "history.parquet",
    )  # fmt: skip
    return Encoder.load(out)


def test_no_epochs_keep_the_weights_as_they_are(land, tmp_path):
    theirs = network(1)
    torch.save(theirs.state_dict(), tmp_path / "imagenet.pth")
    encoder = start(land, tmp_path / "frozen", tmp_path / "imagenet.pth", 0)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(encoder.module("ms").state_dict()[name].cpu(), tensor), name
    card = read_json(tmp_path / "frozen/card.json")
    assert list(card["start"]) == ["imagenet.pth"] and card["best_epoch"] == 0
    history = read_table(tmp_path / "frozen/history.parquet")
    assert history["epoch"].tolist() == [0] and np.isfinite(history["val_loss"]).all()


def test_training_goes_on_from_the_weights_of_both_networks(land, tmp_path, monkeypatch):
    torch.save(network(1).state_dict(), tmp_path / "imagenet.pth")
    seen = []
    from terraprobe import train

    real = train.Trainer.run

    def run(self):
        seen.append(self.method.network)
        target = self.method.network["target"][0].state_dict()
        assert all(torch.equal(v, target[k]) for k, v in network(1).state_dict().items())
        return real(self)

    monkeypatch.setattr(train.Trainer, "run", run)
    encoder = start(land, tmp_path / "on", tmp_path / "imagenet.pth", 2)
    assert len(seen) == 1
    assert not torch.equal(encoder.module("ms").conv1.weight.cpu(), network(1).conv1.weight)


def test_an_encoder_without_training_is_its_own_start(land, tmp_path):
    pretrain(land, tmp_path, method="rsbyol", epochs=0)
    assert read_json(tmp_path / "card.json")["best_epoch"] == 0
    assert Encoder.load(tmp_path).module("ms") is not None
    assert SHARED in read_json(tmp_path / "card.json")["parameters"]["towers"]


@pytest.mark.parametrize(
    ("method", "weights", "words"),
    [
        ("rsbyol", {"file": "a.pth", "layout": "resnet51"}, "'resnet51', allowed resnet50"),
        ("clip3", {"file": "a.pth", "layout": "resnet50"}, "weights: found 'resnet50', allowed none: only rsbyol"),
        ("rsbyol", {"file": "a.pth"}, "layout"),
    ],
)
def test_entries_that_cannot_work_are_refused(method, weights, words):
    with pytest.raises(ValidationError, match=words):
        EncoderEntry(name="a", method=method, collections=["land"], weights=weights)
