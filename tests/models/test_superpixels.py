"""Superpixels, their means, and the loss that contrasts them."""

import math

import pytest
import torch

from terraprobe.models.hard_contrast import hard_contrast
from terraprobe.models.superpixels import segment_means, superpixels


def test_patches_of_an_even_image_are_the_squares_that_they_start_as():
    labels = superpixels(torch.zeros(2, 3, 8, 12), 4)
    squares = torch.arange(8)[:, None] // 4 * 3 + torch.arange(12) // 4
    assert torch.equal(labels, squares.expand(2, -1, -1))


def test_patches_follow_an_edge_that_cuts_through_squares():
    images = torch.zeros(1, 2, 16, 16)
    images[:, :, :, 6:] = 20.0
    labels = superpixels(images, 4)[0]
    assert not set(labels[:, :6].unique().tolist()) & set(labels[:, 6:].unique().tolist())


def test_a_pixel_joins_a_patch_beside_its_own_square():
    torch.manual_seed(0)
    labels = superpixels(5 * torch.randn(1, 2, 16, 16), 4)[0]
    rows, columns = (torch.arange(16) // 4 for _ in range(2))
    apart = torch.maximum((labels // 4 - rows[:, None]).abs(), (labels % 4 - columns).abs())
    assert apart.min() == 0 and apart.max() >= 1


def test_means_are_those_of_a_loop():
    torch.manual_seed(0)
    features, labels = torch.randn(2, 3, 6, 6), torch.randint(0, 4, (2, 6, 6))
    counted = torch.rand(2, 6, 6) < 0.5
    labels[1][labels[1] == 2] = 3
    means, pixels = segment_means(features, labels, 4, counted)
    for image in range(2):
        for patch in range(4):
            inside = (labels[image] == patch) & counted[image]
            assert pixels[image, patch] == inside.sum()
            expected = features[image][:, inside].mean(dim=1) if inside.any() else torch.zeros(3)
            torch.testing.assert_close(means[image, patch], expected)
    assert pixels[1, 2] == 0


def test_the_loss_is_that_of_a_double_loop():
    torch.manual_seed(0)
    one, two = (torch.nn.functional.normalize(torch.randn(5, 3), dim=1) for _ in range(2))
    every, terms = torch.cat([one, two]), []
    for k in range(10):
        others = [j for j in range(10) if j % 5 != k % 5]
        negative = [math.exp(float(every[k] @ every[j]) / 0.5) for j in others]
        weights = [math.exp(float(every[k] @ every[j]) / 0.5) for j in others]  # beta 1
        mean = sum(w * n for w, n in zip(weights, negative, strict=True)) / sum(weights)
        positive = math.exp(float(every[k] @ every[(k + 5) % 10]) / 0.5)
        both = max(8 * (mean - 0.1 * positive) / 0.9, 8 * math.exp(-2))
        terms.append(-math.log(positive / (positive + both)))
    assert float(hard_contrast(one, two, 0.5, 1.0, 0.1)) == pytest.approx(sum(terms) / 10, rel=1e-5)


def test_the_loss_at_known_similarities():
    alike = torch.ones(4, 1)
    for beta in (0.0, 1.0):
        assert float(hard_contrast(alike, alike, 0.5, beta, 0.1)) == pytest.approx(math.log(7))
    apart = torch.eye(4)  # every negative is at a right angle: below the least that the correction allows
    least = 6 * max((1 - 0.1 * math.exp(2)) / 0.9, math.exp(-2))
    expected = math.log(math.exp(2) + least) - 2
    assert float(hard_contrast(apart, apart, 0.5, 1.0, 0.1)) == pytest.approx(expected, rel=1e-5)
