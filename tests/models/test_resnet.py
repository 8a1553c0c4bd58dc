"""ResNet18 and its decoder: the paper's parameter counts, shapes, and what conditioning does."""

import pytest
import torch
from torch import nn

from terraprobe.models.conditioning import ConditionalBatchNorm
from terraprobe.models.resnet import Norms, ResNetDecoder, ResNetEncoder, ResNetShape

EUROSAT = ResNetShape(13, 2, 64, (2, 2, 2, 2))
BIGEARTHNET = ResNetShape(12, 3, 64, (2, 2, 2, 2))
SMALL = ResNetShape(5, 2, 4, (2, 1, 1))
VALUES = 20


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("shape", "classes", "norms", "added", "expected"),
    [
        (EUROSAT, 10, Norms(), 0, 12_556_618),
        (EUROSAT, 10, Norms(), VALUES, 12_567_370),
        (EUROSAT, 10, Norms(VALUES), 0, 12_748_618),
        (BIGEARTHNET, 19, Norms(), 0, 12_564_819),
        (BIGEARTHNET, 19, Norms(), VALUES, 12_575_571),
        (BIGEARTHNET, 19, Norms(VALUES), 0, 12_756_819),
    ],
)
def test_encoder_and_head_have_the_papers_parameters(shape, classes, norms, added, expected):
    with torch.device("meta"):
        assert count(ResNetEncoder(shape, norms, added), nn.Linear(512, classes)) == expected


@pytest.mark.parametrize(("norms", "expected"), [(Norms(), 9_772_109), (Norms(VALUES), 9_871_949)])
def test_the_decoder_has_the_papers_parameters(norms, expected):
    with torch.device("meta"):
        assert count(ResNetDecoder(EUROSAT, 64, norms)) == expected


@pytest.mark.parametrize(("shape", "side"), [(EUROSAT, 64), (BIGEARTHNET, 120), (SMALL, 16), (SMALL, 24)])
def test_an_image_becomes_a_vector_and_an_image_again(shape, side):
    with torch.device("meta"):
        z = ResNetEncoder(shape, Norms())(torch.zeros(2, shape.bands, side, side))
        assert z.shape == (2, shape.widths[-1])
        assert ResNetDecoder(shape, side, Norms())(z).shape == (2, shape.bands, side, side)


def test_a_reconstruction_is_a_reflectance():
    torch.manual_seed(0)
    image = ResNetDecoder(SMALL, 16, Norms())(50 * torch.randn(4, 16)).detach()
    assert 0 <= float(image.min()) < 0.5 < float(image.max()) <= 1


def test_cbn_is_the_batch_norm_whose_affine_its_linear_layer_gives():
    torch.manual_seed(0)
    plain, conditional = nn.BatchNorm2d(6), ConditionalBatchNorm(6, VALUES, "paper")
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    with torch.no_grad():
        conditional.affine.weight.zero_()
        conditional.affine.bias.copy_(torch.cat([plain.weight, plain.bias]))
    for module in (plain, conditional):
        module.train()
    for _ in range(3):
        features, context = torch.randn(4, 6, 5, 5) * 3 + 1, torch.rand(4, VALUES)
        torch.testing.assert_close(conditional(features, context), plain(features))
    plain.eval(), conditional.eval()
    torch.testing.assert_close(conditional(features, context), plain(features))


@pytest.mark.parametrize("training", [True, False])
def test_from_the_identity_start_a_cbn_network_is_the_plain_one(training):
    torch.manual_seed(0)
    plain, conditional = (ResNetEncoder(SMALL, norms) for norms in (Norms(), Norms(VALUES, "identity")))
    ours = {name: tensor for name, tensor in plain.state_dict().items() if ".weight" in name or ".bias" in name}
    shared = {name: tensor for name, tensor in ours.items() if name in conditional.state_dict()}
    assert any(name.startswith("stages") for name in shared)
    conditional.load_state_dict(shared, strict=False)
    images, context = torch.rand(6, 5, 16, 16), torch.rand(6, VALUES)
    for module in (plain, conditional):
        module.train(training)
    torch.testing.assert_close(conditional(images, context), plain(images))


def test_each_chip_is_scaled_by_its_own_context():
    torch.manual_seed(0)
    norm = ConditionalBatchNorm(3, VALUES, "paper").eval()
    features, context = torch.randn(2, 3, 4, 4), torch.rand(2, VALUES)
    out = norm(features, context)
    affine = context @ norm.affine.weight.T + norm.affine.bias
    normalised = features / (1 + norm.norm.eps) ** 0.5
    expected = affine[:, :3, None, None] * normalised + affine[:, 3:, None, None]
    torch.testing.assert_close(out, expected)


def test_emb_adds_a_linear_function_of_the_context():
    torch.manual_seed(0)
    network = ResNetEncoder(SMALL, Norms(), VALUES).eval()
    images, context = torch.rand(3, 5, 16, 16), torch.rand(3, VALUES)
    with_it, without = network(images, context), network(images, torch.zeros(3, VALUES))
    torch.testing.assert_close(with_it - without, context @ network.added.weight.T)


def test_a_plain_network_leaves_context_aside():
    torch.manual_seed(0)
    network = ResNetEncoder(SMALL, Norms()).eval()
    images = torch.rand(3, 5, 16, 16)
    torch.testing.assert_close(network(images, torch.rand(3, VALUES)), network(images))
