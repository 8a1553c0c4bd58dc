"""The vision transformer: size, and the short cut in its last layer."""

import pytest
import torch

from terraprobe.errors import TerraprobeError
from terraprobe.models.vit import ViT


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_full_size_has_the_papers_parameters():
    with torch.device("meta"):
        vit = ViT(448, 16, 768, 12, 12)
    projection = 768 * 768 + 768
    assert 3 * (count(vit) + projection) == 259_342_848


@pytest.mark.parametrize(("image", "patch", "width", "depth"), [(32, 8, 16, 2), (64, 8, 64, 3), (48, 16, 24, 1)])
def test_parameters_in_closed_form(image, patch, width, depth):
    layer = 12 * width**2 + 13 * width
    tokens = (image // patch) ** 2 + 1
    expected = (patch**2 + 1) * width + width + tokens * width + depth * layer + 2 * width
    assert count(ViT(image, patch, width, depth, 2)) == expected


def test_cls_short_cut_is_the_whole_last_layer():
    torch.manual_seed(0)
    vit = ViT(32, 8, 16, 3, 4)
    images = torch.randn(5, 1, 32, 32, requires_grad=True)
    tokens = torch.cat([vit.cls.expand(5, -1, -1), vit.patches(images).flatten(2).transpose(1, 2)], 1) + vit.positions
    for layer in vit.layers:
        tokens = layer(tokens)
    whole = vit.norm(tokens)[:, 0]
    short = vit(images)
    assert short.shape == (5, 16)
    torch.testing.assert_close(short, whole)
    one, two = (torch.autograd.grad(out.square().sum(), images, retain_graph=True)[0] for out in (short, whole))
    torch.testing.assert_close(one, two)


def test_patches_are_rows_of_the_image():
    vit = ViT(32, 8, 16, 1, 2)
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 0:8, 8:16] = 1.0  # second patch of the first row
    changed = (vit.patches(image) - vit.patches(torch.zeros_like(image))).flatten(2).abs().sum(1)[0]
    assert changed.nonzero().flatten().tolist() == [1]


@pytest.mark.parametrize(("patch", "heads"), [(7, 2), (8, 3)])
def test_sizes_that_do_not_fit_are_refused(patch, heads):
    with pytest.raises(TerraprobeError, match=r"patch_px .* must divide .* and heads"):
        ViT(32, patch, 16, 1, heads)
