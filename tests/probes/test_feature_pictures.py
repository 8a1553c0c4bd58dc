"""Features as colours."""

import numpy as np
import pytest
import torch

from terraprobe.probes.feature_pictures import principal_colours


@pytest.fixture
def features():
    """One strong direction, from left to right, among weak noise."""
    torch.manual_seed(0)
    slope = torch.linspace(-1, 1, 8).expand(2, 8, 8)
    return torch.stack([0.01 * slope, 5 * slope, -3 * slope, 0 * slope], dim=1) + 0.1 * torch.randn(2, 4, 8, 8)


def test_the_strongest_direction_is_red(features):
    colours = principal_colours(features)
    assert (colours.shape, colours.dtype) == ((2, 8, 8, 3), np.uint8)
    red = colours[..., 0].astype(int)
    assert (np.diff(red, axis=2) > 0).mean() > 0.9  # its largest weight, of the second feature, is positive
    assert abs(red.mean() - 128) < 3


def test_colours_do_not_depend_on_an_orthogonal_turn_but_for_signs(features):
    turn, _ = torch.linalg.qr(torch.randn(4, 4))
    turned = torch.einsum("ij,njhw->nihw", turn, features)
    one, two = (principal_colours(f).astype(int) - 128 for f in (features, turned))
    for colour in range(3):
        assert min(np.abs(one - sign * two)[..., colour].max() for sign in (1, -1)) <= 1


def test_features_without_spread_are_grey():
    assert (principal_colours(torch.ones(1, 3, 4, 4)) == 128).all()
