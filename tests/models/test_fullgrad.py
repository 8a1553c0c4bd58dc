"""Full gradients: a network made by hand, and that all parts of a score add up to it."""

import pytest
import torch
from torch import nn

from terraprobe.models.bottleneck import BottleneckResNet
from terraprobe.models.fullgrad import full_grad, full_gradients


def settled(network):
    """Norms with statistics, scales and shifts of their own, as training leaves them."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for part, low in (("running_mean", -0.5), ("running_var", 0.5), ("weight", 0.5), ("bias", -0.5)):
                getattr(module, part).data.copy_(torch.rand(module.num_features, generator=generator) + low)
    return network.eval()


@pytest.mark.parametrize("bands", [1, 3])
def test_pixels_and_norms_add_up_to_the_score(bands):
    torch.manual_seed(0)
    network = settled(BottleneckResNet(bands, 4, (1, 2, 1, 1)))
    weights, images = torch.randn(128), torch.rand(3, bands, 32, 32)
    parts = full_gradients(network, lambda features: features @ weights, images)
    assert len(parts) == 1 + sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert parts[0].shape == images.shape and not any(part.requires_grad for part in parts)
    total = torch.stack([part.sum(dim=(1, 2, 3)) for part in parts]).sum(dim=0)
    torch.testing.assert_close(total, network(images) @ weights, rtol=1e-4, atol=1e-4)


def test_by_hand():
    # One pixel-wise norm: relu(2 x + bias), summed. bias = .5 - 2 * 1 / 1 = -1.5, so that the score is that of x > .75.
    network = nn.Sequential(nn.BatchNorm2d(1, eps=0), nn.ReLU(inplace=True)).eval()
    norm = network[0]
    norm.weight.data.fill_(2), norm.bias.data.fill_(0.5), norm.running_mean.fill_(1)
    images = torch.tensor([[[[0.5, 1.0], [2.0, 4.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    with torch.no_grad():  # it is there where gradients are off
        pixels, shift = full_gradients(network, lambda features: features.sum(dim=(1, 2, 3)), images)
        found = full_grad(network, lambda features: features.sum(dim=(1, 2, 3)), images)
    torch.testing.assert_close(pixels[0, 0], torch.tensor([[0.0, 2.0], [4.0, 8.0]]))
    torch.testing.assert_close(shift[0, 0], torch.tensor([[0.0, -1.5], [-1.5, -1.5]]))
    torch.testing.assert_close(found[0], torch.tensor([[0.0, 1.25], [1.5, 2.0]]) / 2)
    assert (found[1] == 0).all() and not norm._forward_hooks


def test_it_is_where_the_pixels_are():
    torch.manual_seed(0)
    network = settled(BottleneckResNet(1, 4, (1, 1, 1, 1)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # no biases: only what is not black can weigh
            module.running_mean.zero_(), module.bias.data.zero_()
    images = torch.zeros(1, 1, 64, 64)
    images[..., :16, :16] = torch.rand(16, 16)
    found = full_grad(network, lambda features: features.sum(dim=1), images)
    assert found.max() == 1 and (found[:, 16:] == 0).all() and (found[..., 16:] == 0).all()
