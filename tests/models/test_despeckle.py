"""Lee's filter on log-intensity."""

import numpy as np
import pytest
import torch

from terraprobe.models.despeckle import LOOKS, despeckle, speckle_db2

SPECKLE = torch.tensor([speckle_db2()])


def speckled(seed=0, side=96):
    """A dark and a bright half in dB under speckle of `LOOKS`; what is there, and what is seen."""
    rng = np.random.default_rng(seed)
    clean = np.full((side, side), -15.0)
    clean[:, side // 2 :] = -3.0
    seen = clean + 10 * np.log10(rng.gamma(LOOKS, 1 / LOOKS, clean.shape))
    return (torch.from_numpy(image).float()[None, None] for image in (clean, seen))


def test_the_variance_of_speckle_is_that_of_its_logarithm():
    looks = np.random.default_rng(0).gamma(LOOKS, 1 / LOOKS, 400_000)
    assert speckle_db2() == pytest.approx((10 * np.log10(looks)).var(), rel=0.01)


def test_it_smooths_what_is_even_and_keeps_an_edge():
    clean, seen = speckled()
    out = despeckle(seen, torch.ones_like(seen, dtype=torch.bool), SPECKLE)
    even = out[..., 10:-10, 10:38] - out[..., 10:-10, 10:38].mean()
    assert float(even.std()) < 0.4 * float((seen - clean)[..., 10:-10, 10:38].std())
    step = out[..., 10:-10, 50].mean() - out[..., 10:-10, 45].mean()
    assert float(step) > 9  # of 12 dB; the mean of the window alone gives less
    plain = torch.nn.functional.avg_pool2d(seen, 7, 1, 3)
    assert float(step) > float(plain[..., 10:-10, 50].mean() - plain[..., 10:-10, 45].mean())


def test_it_follows_the_scale_of_the_images():
    _, seen = speckled()
    everywhere = torch.ones_like(seen, dtype=torch.bool)
    scaled = despeckle((seen + 12) / 4, everywhere, SPECKLE / 16)
    torch.testing.assert_close(scaled, (despeckle(seen, everywhere, SPECKLE) + 12) / 4, rtol=1e-3, atol=1e-3)


def test_what_was_not_observed_counts_for_nothing():
    _, seen = speckled(side=32)
    observed = torch.ones_like(seen, dtype=torch.bool)
    observed[..., :16, :] = False
    spoilt = torch.where(observed, seen, torch.tensor(500.0))
    one, two = despeckle(seen, observed, SPECKLE), despeckle(spoilt, observed, SPECKLE)
    torch.testing.assert_close(one[observed], two[observed])
    assert torch.equal(two[~observed], spoilt[~observed])
