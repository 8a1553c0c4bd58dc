"""Structural similarity against its definition, computed by scipy in 64 bits."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from terraprobe.models.ssim import WINDOW_PX, ssim, ssim_map


def reference(one, two):
    """Wang et al. 2004 plane by plane; scipy's filter cut off at 5 px, kept where its window lies inside."""
    values = []
    for x, y in zip(one.reshape(-1, *one.shape[-2:]), two.reshape(-1, *two.shape[-2:]), strict=True):

        def blur(plane):
            return gaussian_filter(plane, 1.5, truncate=3.5)

        mean_x, mean_y = blur(x), blur(y)
        var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
        c1, c2 = 0.01**2, 0.03**2
        numerator = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        values.append((numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))[5:-5, 5:-5].mean())
    return np.mean(values)


@pytest.mark.parametrize("shape", [(2, 13, 64, 64), (3, 13, 24, 40), (2, 1, 11, 11)])
@pytest.mark.parametrize(("level", "noise"), [(1.0, 0.1), (1.0, 0.5), (0.02, 0.01)])
def test_it_is_the_definition(shape, level, noise):
    rng = np.random.default_rng(0)
    one = level * rng.random(shape)
    two = np.clip(one + noise * rng.normal(size=shape), 0, 1)
    found = float(ssim(torch.tensor(one), torch.tensor(two)))
    assert found == pytest.approx(reference(one, two), abs=1e-5)


@pytest.mark.parametrize(("level", "noise", "expected"), [
    (1.0, 0.1, 0.9447984), (1.0, 0.5, 0.4562156), (0.02, 0.01, 0.9202156),
])  # fmt: skip
def test_it_is_that_of_torchmetrics_where_the_window_lies_inside(level, noise, expected):
    # torchmetrics 1.9.0, structural_similarity_index_measure(one, two, data_range=1.0, return_full_image=True): mean of
    # the full image without 5 px on each side, where it sees the image reflected.
    rng = np.random.default_rng(0)
    one = level * rng.random((2, 13, 64, 64))
    two = np.clip(one + noise * rng.normal(size=one.shape), 0, 1)
    assert float(ssim(torch.tensor(one), torch.tensor(two))) == pytest.approx(expected, abs=1e-6)


def test_equal_images_are_alike_and_it_is_symmetric():
    rng = np.random.default_rng(1)
    one, two = (torch.tensor(rng.random((2, 3, 16, 16)), dtype=torch.float32) for _ in range(2))
    assert float(ssim(one, one)) == pytest.approx(1, abs=1e-6)
    assert float(ssim(one, two)) == pytest.approx(float(ssim(two, one)), abs=1e-7)
    assert float(ssim(one, two)) < 0.2


def test_its_gradient_leads_to_the_image():
    rng = np.random.default_rng(2)
    image = torch.tensor(rng.random((1, 2, 16, 16)), dtype=torch.float32)
    guess = torch.full_like(image, 0.5, requires_grad=True)
    before = float(ssim(guess.detach(), image))
    optimiser = torch.optim.Adam([guess], lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        (1 - ssim(guess, image)).backward()
        optimiser.step()
    assert before < 0.1
    assert float(ssim(guess.detach(), image)) > 0.9


def test_bfloat16_is_computed_in_32_bits():
    rng = np.random.default_rng(3)
    one = torch.tensor(rng.random((1, 2, 16, 16)), dtype=torch.float32)
    two = (one + 0.01).clamp(0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ssim(one, two)
    assert inside.dtype == torch.float32
    assert float(inside) == float(ssim(one, two))


def test_the_window_is_11_px():
    assert WINDOW_PX == 11
    assert torch.isfinite(ssim(torch.rand(1, 1, 11, 11), torch.rand(1, 1, 11, 11)))


def test_constant_images_differ_in_luminance_alone():
    one, two = torch.full((2, 3, 16, 16), 0.25), torch.full((2, 3, 16, 16), 0.75)
    expected = (2 * 0.25 * 0.75 + 0.01**2) / (0.25**2 + 0.75**2 + 0.01**2)
    torch.testing.assert_close(ssim_map(one, two), torch.full((2, 3, 6, 6), expected), atol=1e-4, rtol=0)
