"""Grad-CAM of a network made by hand, and its enlargement."""

import pytest
import torch
from torch import nn

from terraprobe.models.gradcam import enlarge, grad_cam


class Hand(nn.Module):
    """Features are the image itself, pooled by their mean; scores are linear in them."""

    def __init__(self):
        super().__init__()
        self.features = nn.Identity()
        self.head = nn.Linear(2, 3, bias=False)
        self.head.weight.data = torch.tensor([[1.0, 0.0], [2.0, -4.0], [-1.0, -1.0]])

    def forward(self, images):
        """Scores (B, 3)."""
        return self.head(self.features(images).mean(dim=(2, 3)))


@pytest.fixture
def images():
    return torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [2.0, 0.5]]]]).repeat(3, 1, 1, 1)


def test_features_are_weighted_by_their_mean_gradient(images):
    # The score of class k is sum_c w_kc mean(A_c): its gradient is w_kc / 4 everywhere, so the map is
    # relu(w_k0 A_0 + w_k1 A_1) / 4.
    network = Hand()
    found = grad_cam(lambda: network(images.requires_grad_()), network.features, torch.tensor([0, 1, 2]))
    first = [[0.25, 0.5], [0.75, 1.0]]
    second = [[0.0, 1.0], [0.0, 1.5]]  # 2 - 4, 4 - 0, 6 - 8 and 8 - 2, over 4, nothing below 0
    torch.testing.assert_close(found, torch.tensor([first, second, [[0.0, 0.0], [0.0, 0.0]]]))
    assert not found.requires_grad
    assert not network.features._forward_hooks


def test_a_network_that_is_not_linear(images):
    # exp of the pooled first feature: the gradient is exp(2.5) / 4, the map that times A_0.
    layer = nn.Identity()
    found = grad_cam(
        lambda: layer(images.requires_grad_()).mean(dim=(2, 3)).exp(), layer, torch.zeros(3, dtype=torch.long)
    )
    torch.testing.assert_close(found, images[:, 0].detach() * torch.tensor(2.5).exp() / 4)


def test_it_is_there_where_gradients_are_off(images):
    network = Hand()
    with torch.no_grad():
        found = grad_cam(lambda: network(images.requires_grad_()), network.features, torch.tensor([0, 0, 0]))
    assert found.max() == 1


def test_maps_are_brought_to_one_and_enlarged():
    small = torch.tensor([[[2.0, 2.0], [2.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [0.0, 8.0]]])
    found = enlarge(small, 8)
    assert found.shape == (3, 8, 8)
    torch.testing.assert_close(found[0], torch.ones(8, 8))
    torch.testing.assert_close(found[1], torch.zeros(8, 8))
    assert (found[2].diff(dim=0).abs() < 1e-6).all()  # alike from above to below
    assert (found[2][:, 1:7].diff(dim=1) > 0).all()  # and rising from left to right
