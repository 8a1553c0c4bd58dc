"""Networks that see many channels at once, and the loss over pixels."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from terraprobe.models.channelwise import EarlyFusion, JointNetwork, SharedExtractor
from terraprobe.models.deeplab import DeepLab, DeepLabShape, DilatedResNet
from terraprobe.models.degrade import blur, cut_out, drop_channels
from terraprobe.models.pixel_nt_xent import pixel_nt_xent

SMALL = DeepLabShape(2, (1, 2, 1, 1), 8, 6, (1, 2))


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_many_channels_and_few_go_through_one_extractor():
    extractor = SharedExtractor(4).eval()
    images = torch.randn(2, 15, 16, 16)
    many, few = extractor(images), extractor(images[:, 3:7])
    assert (many.shape, few.shape) == ((2, 60, 16, 16), (2, 16, 16, 16))
    torch.testing.assert_close(many[:, 12:28], few)


def test_the_extractor_of_every_channel_is_the_same():
    extractor = SharedExtractor(4).eval()
    images = torch.randn(2, 3, 8, 8)
    swapped = extractor(images[:, [2, 0, 1]]).view(2, 3, 4, 8, 8)
    torch.testing.assert_close(swapped, extractor(images).view(2, 3, 4, 8, 8)[:, [2, 0, 1]])
    assert sum(p.numel() for p in extractor.parameters()) == 9 * 4 + 8 + 2 * (9 * 16 + 8)


def test_early_fusion_sees_all_channels_at_once():
    fused = EarlyFusion(3, 4).eval()
    images = torch.randn(1, 3, 8, 8)
    changed = fused(images + torch.tensor([1.0, 0, 0])[:, None, None])
    assert fused(images).shape == (1, 12, 8, 8)
    assert ((changed - fused(images)).abs().amax(dim=(0, 2, 3)) > 0).sum() > 4


@pytest.mark.parametrize(("stride", "side"), [(4, 16), (8, 8), (16, 4), (32, 2)])
def test_the_output_stride_is_kept(stride, side):
    shape = DeepLabShape(2, (1, 2, 1, 2), stride, 6, (1, 2))
    network = JointNetwork(SharedExtractor(2), DeepLab(6, shape)).eval()
    images = torch.randn(2, 3, 64, 64)
    pixels = network.pixels(images)
    assert pixels.shape == (2, 6, side, side)
    torch.testing.assert_close(network(images), pixels.mean(dim=(2, 3)))


def test_a_dilated_network_sees_what_the_strided_one_sees():
    """Every fourth place of features that were never strided is a place of those that were strided twice."""
    dilated, strided = (DilatedResNet(1, DeepLabShape(2, (1, 2, 2, 2), stride, 6, ())).eval() for stride in (8, 32))
    strided.load_state_dict(dilated.state_dict())
    images = torch.randn(1, 1, 96, 96)
    torch.testing.assert_close(dilated.pixels(images)[..., ::4, ::4], strided.pixels(images), rtol=1e-4, atol=1e-5)


def test_sizes_are_those_of_deeplab_with_a_resnet50():
    shape = DeepLabShape(64, (3, 4, 6, 3), 16, 256, (6, 12, 18))
    with torch.device("meta"):
        network = DeepLab(3, shape)
    # torchvision's deeplabv3_resnet50 has 42,004,074, of which an auxiliary head 2,365,205 and the last layer 5,397.
    assert sum(p.numel() for p in network.parameters()) == 42_004_074 - 2_365_205 - 5_397


def double_loop(one, two, from_one, temperature):
    """The paper's formula, pixel by pixel and chip by chip."""
    losses = []
    batch, _, height, width = one.shape
    for y in range(height):
        for x in range(width):
            a, b = F.normalize(one[:, :, y, x], dim=1), F.normalize(two[:, :, y, x], dim=1)
            for n in range(batch):
                others = [m for m in range(batch) if m != n]
                negatives = sum(math.exp(float(a[n] @ (a if from_one[m] else b)[m]) / temperature) for m in others)
                losses.append(math.log(negatives) - float(a[n] @ b[n]) / temperature)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_over_pixels_is_that_of_a_double_loop(temperature):
    one, two = torch.randn(5, 3, 4, 2), torch.randn(5, 3, 4, 2)
    from_one = torch.tensor([True, False, False, True, False])
    found = float(pixel_nt_xent(one, two, from_one, temperature))
    assert found == pytest.approx(double_loop(one, two, from_one, temperature), rel=1e-5)


def test_the_loss_at_known_similarities():
    """All alike: chance. Chips at right angles that agree over channels: as low as it goes for them."""
    same = torch.ones(6, 8, 3, 3)
    from_one = torch.zeros(6, dtype=torch.bool)
    assert float(pixel_nt_xent(same, 2 * same, from_one, 0.1)) == pytest.approx(math.log(5), rel=1e-5)
    apart = torch.eye(6)[:, :, None, None].expand(6, 6, 3, 3)
    assert float(pixel_nt_xent(apart, apart, from_one, 0.1)) == pytest.approx(math.log(5) - 10, rel=1e-5)


def test_pixels_are_no_negatives_of_each_other():
    one, two = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    from_one = torch.ones(4, dtype=torch.bool)
    whole = pixel_nt_xent(one, two, from_one, 0.1)
    parts = [pixel_nt_xent(one[..., [x]], two[..., [x]], from_one, 0.1) for x in (0, 1)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_dropped_channels_are_zero_and_the_others_as_they_were():
    images = torch.randn(50, 6, 4, 4)
    dropped = drop_channels(images, torch.arange(50) % 4, torch.rand(50, 6))
    gone = (dropped == 0).all(dim=(2, 3))
    assert torch.equal(gone.sum(dim=1), torch.arange(50) % 4)
    assert torch.equal(dropped[~gone], images[~gone])


@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.999, 0.999), (0.5, 0.1)])
def test_a_square_is_cut_out_of_all_channels(corner):
    images = torch.ones(1, 3, 16, 16)
    cut = cut_out(images, 0.25, torch.tensor([corner]))
    rows, columns = (cut[0, 0] == 0).nonzero().unbind(dim=1)
    assert len(rows) == 64
    assert (rows.max() - rows.min(), columns.max() - columns.min()) == (7, 7)
    assert (cut == cut[:, :1]).all()


def test_the_blur_of_each_image_is_its_own():
    images = torch.zeros(2, 2, 31, 31)
    images[:, :, 15, 15] = 1.0
    blurred = blur(images, torch.tensor([0.1, 2.0]), 2.0)
    torch.testing.assert_close(blurred[0], images[0], atol=1e-6, rtol=0)
    away = torch.arange(-6.0, 7)
    kernel = (-(away**2) / 8).exp() / (-(away**2) / 8).exp().sum()
    torch.testing.assert_close(blurred[1, 1, 9:22, 9:22], kernel[:, None] * kernel)
    constant = torch.full((1, 1, 9, 9), 3.0)
    torch.testing.assert_close(blur(constant, torch.tensor([2.0]), 2.0), constant)
