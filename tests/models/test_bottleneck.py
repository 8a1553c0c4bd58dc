"""The bottleneck ResNet: torchvision's names and shapes, its outputs where it can be imported, dilated features."""

import importlib.util

import pytest
import torch

from terraprobe.models.bottleneck import BottleneckResNet, embedding_size

RESNET50 = (3, 4, 6, 3)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_layout(bands, width, blocks):
    """Names and shapes of torchvision's ResNet of bottlenecks, written out; without its head `fc`."""
    found = {"conv1.weight": (width, bands, 7, 7)}

    def norm(name, channels):
        found.update({f"{name}.{part}": () if part == "num_batches_tracked" else (channels,) for part in NORM})

    norm("bn1", width)
    into = width
    for stage, count in enumerate(blocks):
        inner, out = width * 2**stage, 4 * width * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            shapes = ((inner, into, 1, 1), (inner, inner, 3, 3), (out, inner, 1, 1))
            for place, shape in enumerate(shapes, 1):
                found[f"{name}.conv{place}.weight"] = shape
                norm(f"{name}.bn{place}", shape[0])
            if block == 0:
                found[f"{name}.downsample.0.weight"] = (out, into, 1, 1)
                norm(f"{name}.downsample.1", out)
            into = out
    return found


@pytest.mark.parametrize(("bands", "width", "blocks"), [(3, 64, RESNET50), (1, 64, RESNET50), (1, 8, (1, 2, 1, 1))])
def test_names_and_shapes_are_torchvisions(bands, width, blocks):
    with torch.device("meta"):
        network = BottleneckResNet(bands, width, blocks)
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert ours == torchvision_layout(bands, width, blocks)


@pytest.mark.parametrize(("bands", "parameters"), [(3, 23_508_032), (1, 23_501_760)])
def test_it_is_as_large_as_resnet50_without_its_head(bands, parameters):
    with torch.device("meta"):
        network = BottleneckResNet(bands, 64, RESNET50)
    assert sum(p.numel() for p in network.parameters()) == parameters  # torchvision's 25,557,032 less 2,049,000 of fc
    assert embedding_size(64) == 2048


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is in .venv-bench alone")
def test_outputs_are_torchvisions():
    from torchvision.models import resnet50

    torch.manual_seed(0)
    ours, theirs = BottleneckResNet(3, 64, RESNET50), resnet50(replace_stride_with_dilation=(False, False, False))
    dilated = resnet50(replace_stride_with_dilation=(False, False, True))
    for network in (theirs, dilated):
        network.fc = torch.nn.Identity()
        network.load_state_dict(ours.state_dict())
        network.eval()
    ours.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)
        pooled = ours.pixels(images).mean(dim=(2, 3))
        torch.testing.assert_close(pooled, dilated(images), rtol=1e-4, atol=1e-4)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return BottleneckResNet(3, 4, (1, 1, 1, 2)).eval()


def test_one_band_enters_in_the_place_of_each(small):
    band = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(small(band), small(band.repeat(1, 3, 1, 1)))
    torch.testing.assert_close(small.pixels(band), small.pixels(band.repeat(1, 3, 1, 1)))


def test_features_of_places_lie_at_a_sixteenth(small):
    images = torch.rand(2, 3, 64, 64)
    assert small(images).shape == (2, 128)
    assert small.pixels(images).shape == (2, 128, 4, 4)


def test_the_first_dilated_block_sees_what_the_strided_one_sees():
    """Every second place of the unstrided stage of one block is the strided stage."""
    torch.manual_seed(0)
    network = BottleneckResNet(1, 4, (1, 1, 1, 1)).eval()
    images = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(network.pixels(images)[:, :, ::2, ::2].mean(dim=(2, 3)), network(images))


def test_later_dilated_blocks_reach_twice_as_far(small):
    block = small.layer4[1]
    torch.manual_seed(0)
    features = torch.rand(1, 128, 9, 9, requires_grad=True)
    out = block(features, dilation=2)
    out[0, :, 4, 4].sum().backward()
    seen = features.grad.abs().sum(dim=(0, 1)) > 0
    assert set(map(tuple, seen.nonzero().tolist())) == {(y, x) for y in (2, 4, 6) for x in (2, 4, 6)}


def test_gradients_reach_every_weight_through_the_dilated_features(small):
    small.train()
    small.pixels(torch.rand(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in small.parameters())
