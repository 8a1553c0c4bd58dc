"""Random views of images, all of a batch at once: every image by numbers of its own.

What becomes of an image is a function of its own random numbers alone, not of its batch mates: no operation here mixes
images.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DRAWS = 15
"""Random numbers that one view of one image takes."""

ASPECT = 4 / 3
"""[D] Sides of a crop stand at most so to each other, as torchvision's RandomResizedCrop has it."""

ERASED_ASPECT = 3.3
"""[D] Sides of an erased rectangle, as torchvision's RandomErasing has it."""

BLUR_REACH = 2.0
"""[D] The blur's kernel ends after so many of its largest standard deviations."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random parameters.

    Attributes:
        crop_area: smallest and largest share of the image that a crop covers.
        rotation_deg: largest rotation, both ways.
        blur_share: how many images are blurred.
        blur_px: smallest and largest standard deviation of the blur.
        erase_share: how many images lose a rectangle.
        erase_area: smallest and largest share of the image that it covers.
        grey_share: how many images of several channels become grey.
        limits: of the values; those that the interpolation brings beyond are clipped.
    """

    crop_area: tuple[float, float]
    rotation_deg: float
    blur_share: float
    blur_px: tuple[float, float]
    erase_share: float
    erase_area: tuple[float, float]
    grey_share: float
    limits: tuple[float, float] = (0.0, 1.0)

    def __call__(self, images: "Tensor", uniform: "Tensor") -> "Tensor":
        """A view of every image.

        Args:
            images: within the limits, (B, C, H, W) with H = W.
            uniform: random numbers in [0, 1), (B, DRAWS).

        Returns:
            Within the limits, (B, C, H, W): cropped, flipped and rotated in one bicubic interpolation, then some grey,
            some blurred, some with an erased rectangle.
        """
        geometry, blur, erase = uniform[:, :7], uniform[:, 7:9], uniform[:, 9:14]
        views = self._crop(images, geometry)
        if images.shape[1] > 1:
            views = self._grey(views, uniform[:, 14])
        return self._erase(self._blur(views, blur), erase)

    def _crop(self, images: "Tensor", u: "Tensor") -> "Tensor":
        """A resized crop, flips and a rotation; what lies beyond an edge is the image, mirrored."""
        import torch
        from torch.nn import functional as F  # noqa: N812

        side = images.shape[-1]
        wide, high = _sides(_between(u[:, 0], self.crop_area), u[:, 1], ASPECT)
        centre_x, centre_y = ((2 * u[:, k] - 1) * (1 - s) for k, s in ((2, wide), (3, high)))
        wide, high = wide * _sign(u[:, 4]), high * _sign(u[:, 5])
        angle = (2 * u[:, 6] - 1) * math.radians(self.rotation_deg)
        cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
        steps = (torch.arange(side, device=images.device, dtype=images.dtype) * 2 + 1) / side - 1
        across = (steps[None, None, :] * wide[:, None, None]).expand(-1, side, -1)
        down = (steps[None, :, None] * high[:, None, None]).expand(-1, -1, side)
        x = cosine * across - sine * down + centre_x[:, None, None]
        y = sine * across + cosine * down + centre_y[:, None, None]
        grid = torch.stack([x, y], dim=3)
        # Overshoots of the cubic interpolation would leave the range that the network is used to.
        return F.grid_sample(images, grid, "bicubic", "reflection", align_corners=False).clamp_(*self.limits)

    def _grey(self, images: "Tensor", u: "Tensor") -> "Tensor":
        """The mean of the channels in each of them, for some images."""
        import torch

        grey = images.mean(dim=1, keepdim=True)
        return torch.where((u < self.grey_share)[:, None, None, None], grey, images)

    def _blur(self, images: "Tensor", u: "Tensor") -> "Tensor":
        """A Gaussian blur, edges mirrored, for some images."""
        import torch
        from torch.nn import functional as F  # noqa: N812

        reach = math.ceil(BLUR_REACH * self.blur_px[1])
        if not self.blur_share or not reach:
            return images
        away = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
        kernel = (-0.5 * (away / _between(u[:, 1], self.blur_px)[:, None]) ** 2).exp()
        kernel = torch.where((u[:, 0] < self.blur_share)[:, None], kernel, (away == 0).to(kernel.dtype))
        kernel = kernel / kernel.sum(dim=1, keepdim=True)
        padded = F.pad(images, (reach,) * 4, "reflect")
        return _slide(_slide(padded, kernel, 2), kernel, 3)

    def _erase(self, images: "Tensor", u: "Tensor") -> "Tensor":
        """A rectangle of zeros, which is what pixels that were not observed are, in some images."""
        import torch

        side = images.shape[-1]
        wide, high = _sides(_between(u[:, 1], self.erase_area), u[:, 2], ERASED_ASPECT)
        place = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) / side
        inside = [
            (place >= start[:, None]) & (place < (start + length)[:, None])
            for start, length in ((u[:, 3] * (1 - wide), wide), (u[:, 4] * (1 - high), high))
        ]
        gone = inside[1][:, :, None] & inside[0][:, None, :] & (u[:, 0] < self.erase_share)[:, None, None]
        return images.masked_fill(gone[:, None], 0.0)


def _between(u: "Tensor", ends: tuple[float, float]) -> "Tensor":
    return ends[0] + u * (ends[1] - ends[0])


def _sides(area: "Tensor", u: "Tensor", most: float) -> "tuple[Tensor, Tensor]":
    """Width and height of rectangles, as shares of the image's side; the logarithm of their ratio is uniform."""
    stretch = ((2 * u - 1) * (0.5 * math.log(most))).exp()
    return (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)


def _sign(u: "Tensor") -> "Tensor":
    """1 or -1, each half of the time."""
    return 1 - 2 * (u < 0.5).to(u.dtype)


def _slide(images: "Tensor", kernel: "Tensor", axis: int) -> "Tensor":
    """Each image with its own kernel (B, taps) along an axis, which gets shorter by the kernel's reach on both ends."""
    taps = kernel.shape[1]
    side = images.shape[axis] - taps + 1
    total = images.narrow(axis, 0, side) * kernel[:, 0, None, None, None]
    for place in range(1, taps):
        total.addcmul_(images.narrow(axis, place, side), kernel[:, place, None, None, None])
    return total
