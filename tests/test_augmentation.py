"""Random views: each image by its own numbers, whatever stands beside it; what each range does."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from terraprobe.augmentation import DRAWS, Augmentation

NOTHING = {
    "crop_area": (1.0, 1.0),
    "rotation_deg": 0.0,
    "blur_share": 0.0,
    "blur_px": (0.1, 2.0),
    "erase_share": 0.0,
    "erase_area": (0.02, 0.2),
    "grey_share": 0.0,
}
EVERYTHING = {
    **NOTHING, "crop_area": (0.2, 1.0), "rotation_deg": 180.0, "blur_share": 0.5, "erase_share": 0.5, "grey_share": 0.5,
}  # fmt: skip
SIDE = 24


def augmentation(**other):
    return Augmentation(**{**NOTHING, **other})


def images(count=6, bands=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, bands, 6, 6, generator=generator)
    return F.interpolate(small, SIDE, mode="bilinear")


def numbers(count=6, seed=1):
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(seed))


def still(count=6):
    """Numbers that leave an image as it is: centre, square, no flip."""
    u = torch.full((count, DRAWS), 0.5)
    u[:, [7, 9, 14]] = 0.99
    return u


@pytest.mark.parametrize("bands", [1, 3])
def test_an_image_does_not_depend_on_its_batch_mates(bands):
    chips, u = images(bands=bands), numbers()
    whole = augmentation(**EVERYTHING)(chips, u)
    for place in range(len(chips)):
        alone = augmentation(**EVERYTHING)(chips[place : place + 1], u[place : place + 1])
        assert torch.equal(alone[0], whole[place])
    order = torch.randperm(len(chips), generator=torch.Generator().manual_seed(2))
    assert torch.equal(augmentation(**EVERYTHING)(chips[order], u[order]), whole[order])


def test_equal_images_of_a_batch_become_different_views_and_equal_numbers_equal_ones():
    chips, u = images(1, 3).expand(6, -1, -1, -1), numbers()
    views = augmentation(**EVERYTHING)(chips, u)
    for one in range(6):
        for two in range(one):
            assert float((views[one] - views[two]).abs().mean()) > 0.01
    assert torch.equal(augmentation(**EVERYTHING)(chips, u), views)
    assert views.shape == chips.shape
    assert float(views.min()) >= 0 and float(views.max()) <= 1


def test_without_ranges_an_image_stays_as_it_is():
    torch.testing.assert_close(augmentation()(images(), still()), images())


@pytest.mark.parametrize(("number", "axis"), [(4, 3), (5, 2)])
def test_half_of_the_images_are_flipped_each_way(number, axis):
    u = still()
    u[::2, number] = 0.49
    views = augmentation()(images(), u)
    torch.testing.assert_close(views[::2], images().flip(axis)[::2])
    torch.testing.assert_close(views[1::2], images()[1::2])


def test_a_rotation_by_a_right_angle_is_a_transposition():
    u = still()
    u[:, 6] = 1.0
    views = augmentation(rotation_deg=90)(images(), u)
    torch.testing.assert_close(views, images().rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_a_crop_shows_its_part_of_the_image():
    ramp = torch.linspace(0, 1, SIDE).expand(1, 1, SIDE, SIDE)
    u = still(1)
    u[:, 2] = 0.0  # the left end
    view = augmentation(crop_area=(0.25, 0.25))(ramp, u)[0, 0]
    expected = ((torch.arange(SIDE) + 0.5) / 2 - 0.5) / (SIDE - 1)  # half pixels of the left half
    torch.testing.assert_close(view[0, 4:], expected[4:], atol=3e-3, rtol=0)  # PyTorch's kernel bends lines by .002
    torch.testing.assert_close(view, view[:1].expand_as(view), atol=1e-5, rtol=0)


def test_the_crop_is_the_bicubic_interpolation_of_pytorch():
    u = still(2)
    u[:, 2], u[:, 3] = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])
    chips = images(2)
    views = augmentation(crop_area=(0.25, 0.25))(chips, u)
    wide = F.interpolate(chips, scale_factor=2, mode="bicubic").clamp(0, 1)
    inside = slice(4, SIDE - 4)  # edges of a crop see beyond it
    torch.testing.assert_close(views[0, :, inside, inside], wide[0, :, :SIDE, :SIDE][:, inside, inside])
    torch.testing.assert_close(views[1, :, inside, inside], wide[1, :, SIDE:, SIDE:][:, inside, inside])


def test_the_blur_is_a_gaussian_of_each_images_own_width():
    point = torch.zeros(3, 1, SIDE, SIDE)
    point[:, :, 12, 12] = 1
    u = still(3)
    u[:, 7], u[:, 8] = torch.tensor([0.0, 0.0, 0.99]), torch.tensor([1.0, 0.5, 1.0])
    views = augmentation(blur_share=0.5, blur_px=(1.0, 2.0))(point, u)
    away = torch.arange(-4, 5, dtype=torch.float32)
    for view, deviation in ((views[0, 0], 2.0), (views[1, 0], 1.5)):
        kernel = (-0.5 * (away / deviation) ** 2).exp()
        kernel /= kernel.sum()
        torch.testing.assert_close(view[8:17, 8:17], torch.outer(kernel, kernel))
        assert float(view.sum()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(views[2], point[2])


def test_an_erased_rectangle_is_zero_and_covers_its_share():
    ones, u = torch.ones(400, 1, SIDE, SIDE), numbers(400)
    u[:, :7] = 0.5
    views = augmentation(erase_share=0.25, erase_area=(0.1, 0.2))(ones, u)
    shares = (views == 0).float().mean(dim=(1, 2, 3))
    assert float((shares > 0).float().mean()) == pytest.approx(0.25, abs=0.06)
    erased = shares[shares > 0]
    assert float(erased.min()) > 0.07 and float(erased.max()) < 0.24
    assert set(views.unique().tolist()) == {0.0, 1.0}


def test_grey_is_the_mean_of_three_channels_and_never_of_one():
    u = still(2)
    u[0, 14] = 0.1
    views = augmentation(grey_share=0.5)(images(2, 3), u)
    torch.testing.assert_close(views[0], images(2, 3)[0].mean(dim=0, keepdim=True).expand(3, -1, -1))
    torch.testing.assert_close(views[1], images(2, 3)[1])
    torch.testing.assert_close(augmentation(grey_share=1.0)(images(), still()), images())


def test_crops_have_the_areas_that_they_are_given():
    u = numbers(4000)
    u[:, 2:7] = 0.5
    ramp = torch.linspace(-1, 1, 65).expand(4000, 1, 65, 65) / 2 + 0.5
    views = augmentation(crop_area=(0.2, 0.5))(ramp, u)[:, 0]
    wide = (views[:, 32, 33] - views[:, 32, 32]) * 65  # slope in the middle: width of the crop
    ends = math.sqrt(0.2 * 3 / 4), math.sqrt(0.5 * 4 / 3)
    assert ends[0] * 0.95 < float(wide.min()) and float(wide.max()) < ends[1] * 1.05
