"""Rows of all ranks, with gradient."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class _Gather(torch.autograd.Function):
    """Concatenate over ranks; backwards, sum what every rank's loss says about this rank's rows.

    With the mean over ranks that distributed training takes, the gradient is that of one process with all rows.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        ctx.rows = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        start = dist.get_rank() * ctx.rows
        return grad[start : start + ctx.rows]


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all ranks in rank order, (ranks * B, ...); the same tensor where there is one process.

    Args:
        rows: (B, ...), the same B on every rank.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    if rows.is_floating_point():
        gathered: Tensor = _Gather.apply(rows)
        return gathered
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
