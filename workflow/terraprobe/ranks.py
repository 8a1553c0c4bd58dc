"""Several processes at one training, one for each GPU: what they share, so that they learn what one would.

A launcher starts them (`torchrun` or `srun`) and each deals itself its part of a batch. Whatever needs all rows of a
batch comes through here; losses, means and gradients of many ranks are those of one process with all rows.
"""

import atexit
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from terraprobe.errors import TerraprobeError
from terraprobe.stage import progress

T = TypeVar("T")
PORT = 29500
"""PyTorch's own default; under SLURM moved by the job's number, since jobs share nodes."""

_apart = False


def count_ranks() -> int:
    """Processes at this training; 1 within `apart`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _apart else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def join(environment: Mapping[str, str] = os.environ) -> None:
    """Be one of the processes that a launcher has started, until this one ends; alone where there is none.

    Args:
        environment: as `torchrun` sets it, or `srun` with more than one task.
    """
    place = _place(environment)
    if place is None:
        return
    number, world, local, address = place
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=address, rank=number, world_size=world)
    atexit.register(dist.destroy_process_group)


def _place(environment: Mapping[str, str]) -> tuple[int, int, int, str] | None:
    """Rank, ranks, rank on this node and where they meet; None for one process by itself."""
    if int(environment.get("WORLD_SIZE", 1)) > 1:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        number, world, local = (int(environment[name]) for name in names)
        return number, world, local, f"tcp://{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    # Of the step, not of the job: a job of several tasks also starts processes that are alone.
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        number, world, local = (int(environment[name]) for name in names)
        node = re.sub(r"\[(\d+).*", r"\1", environment["SLURM_STEP_NODELIST"].split(",")[0])
        return number, world, local, f"tcp://{node}:{PORT + int(environment['SLURM_JOB_ID']) % 1000}"
    return None


@contextmanager
def apart() -> Iterator[None]:
    """Work as one process by itself while the block lasts: every rank does the same work on all rows."""
    global _apart  # noqa: PLW0603
    _apart = True
    try:
        yield
    finally:
        _apart = False


def tell(text: str) -> None:
    """One line of progress, once."""
    if rank() == 0:
        progress(text)


def deal(rows: Any) -> Any:
    """This rank's part of the rows of a batch, in rank order.

    Raises:
        TerraprobeError: the ranks cannot have equally many.
    """
    each, left = divmod(len(rows), count_ranks())
    if left:
        raise TerraprobeError(
            f"batches of {len(rows)} chips cannot be dealt evenly to {count_ranks()} processes. Set a batch_size that "
            "they divide, or start another number of them."
        )
    return rows[rank() * each : (rank() + 1) * each] if count_ranks() > 1 else rows


def any_of(true: bool) -> bool:
    """Whether it is true on any rank."""
    if count_ranks() == 1:
        return true
    found = torch.tensor(int(true), device=_device())
    dist.all_reduce(found)
    return bool(found)


def meet() -> None:
    """Wait for all ranks."""
    any_of(True)


def mean_of(value: float) -> float:
    """Mean over ranks."""
    if count_ranks() == 1:
        return value
    found = torch.tensor(value, dtype=torch.float64, device=_device())
    dist.all_reduce(found)
    return float(found) / count_ranks()


def of_first(work: Callable[[], T]) -> T:
    """What the first rank finds; the others wait for it, so that all go on alike."""
    if count_ranks() == 1:
        return work()
    found: list[Any] = [None]
    if rank() == 0:
        with apart():
            found = [work()]
    dist.broadcast_object_list(found, device=_device())
    result: T = found[0]
    return result


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every parameter the mean of its gradients over ranks; a gradient that a rank lacks counts as 0."""
    if count_ranks() == 1:
        return
    learnt = [p for p in parameters if p.requires_grad]
    has = torch.tensor([int(p.grad is not None) for p in learnt], device=_device())
    dist.all_reduce(has)
    used = [p for p, ranks in zip(learnt, has.tolist(), strict=True) if ranks]
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in used]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= count_ranks()
    for parameter, part in zip(used, torch.split(flat, [p.numel() for p in used]), strict=True):
        parameter.grad = part.view_as(parameter)


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
    if count_ranks() == 1:
        return rows
    if rows.is_floating_point():
        gathered: Tensor = _Gather.apply(rows)
        return gathered
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Sum(torch.autograd.Function):
    """Sum over ranks; backwards, sum what every rank's loss says about the sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad


def synchronise_batch_norms(network: nn.Module) -> None:
    """Have the batch norms of a network take mean and variance over the rows of all ranks while they train.

    PyTorch's own `SyncBatchNorm` does so on GPUs alone and does not take context.
    """
    if count_ranks() == 1:
        return
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_batch_norm, module)  # type: ignore[method-assign]


def _batch_norm(norm: _BatchNorm, features: Tensor, context: Tensor | None = None) -> Tensor:
    if not norm.training:
        plain: Tensor = type(norm).forward(norm, features)
        return plain
    axes = [0, *range(2, features.ndim)]
    shape = [1, -1] + [1] * (features.ndim - 2)
    wide = features.float()
    sums = wide.sum(axes)
    total: Tensor = _Sum.apply(torch.cat([sums, sums.new_tensor([wide.numel() / len(sums)])]))
    rows = total[-1]
    mean = total[:-1] / rows
    centred = wide - mean.view(shape)
    variance: Tensor = _Sum.apply((centred**2).sum(axes)) / rows
    _follow(norm, mean.detach(), (variance * rows / (rows - 1)).detach())
    normed = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        normed = torch.addcmul(norm.bias.view(shape), norm.weight.view(shape), normed)
    return normed.to(features.dtype)


def _follow(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as PyTorch does: the variance without bias."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)


def _device() -> torch.device:
    return torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
