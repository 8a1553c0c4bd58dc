"""NT-Xent for every pixel of a batch of feature maps (Montanaro et al., methods.md sec. 4 UniFeat)."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.ranks import deal, gather_rows


def pixel_nt_xent(one: Tensor, two: Tensor, from_one: Tensor, temperature: float) -> Tensor:
    """How well each pixel of one channel finds the same chip in another channel.

    At every pixel the positive is the same chip in the other channel, and the negatives are the other chips at the same
    pixel, those of all ranks; the positive is not in the denominator, as the paper prints it. Nothing larger than
    (H W, B, ranks * B) is made.

    Args:
        one: features of a channel of each chip of this rank, of any length, (B, D, H, W).
        two: of another channel, (B, D, H, W).
        from_one: whether a chip is a negative of the others by its features in `one`, else by those in `two`, (B,).
        temperature: of the cosine similarities.

    Returns:
        Mean over chips and pixels of log(sum of exp(negatives)) - positive, a scalar: log(ranks * B - 1) where all are
        alike.
    """
    with torch.autocast(one.device.type, enabled=False):
        one, two = (F.normalize(maps.float(), dim=1) for maps in (one, two))
        negatives = gather_rows(torch.where(from_one[:, None, None, None], one, two))
        positive = (one * two).sum(dim=1) / temperature
        anchors, others = (maps.flatten(2).permute(2, 0, 1) for maps in (one, negatives))
        similar = anchors @ others.transpose(1, 2) / temperature  # (pixel, chip, other chip)
        itself = deal(torch.eye(len(negatives), dtype=torch.bool, device=one.device))
        similar = similar.masked_fill(itself, float("-inf"))
        return similar.logsumexp(dim=2).mean() - positive.mean()
