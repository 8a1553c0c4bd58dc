"""The one training loop: seeded, resumable at any step, watched for collapse.

Order and draws are functions of (seed, epoch, chip) and the learning rate is one of the step, so that a run that was
killed and resumed gives the bytes of one that was not, at the same thread count.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terraprobe import ranks
from terraprobe.checkpoints import StateFolder
from terraprobe.encoders import write_weights
from terraprobe.errors import TerraprobeError
from terraprobe.health import MIN_CHIPS, PATIENCE, Health, health_columns, measure_health
from terraprobe.method import Batch, Method
from terraprobe.pool import ChipPool
from terraprobe.restarts import restart_path
from terraprobe.signals import asked_to_stop

CHECKPOINT_SECONDS = 30.0
"""Longest work that a kill can cost; longer where writing takes more than a twentieth of the time."""

WRITE_SHARE = 0.05

HEALTH_CHIPS = 256
"""Validation chips whose embeddings are watched, at most: several times the rank that a collapse would leave."""

EXIT_INTERRUPTED = 75
"""`EX_TEMPFAIL` of sysexits.h: run the same command again."""

_STREAMS = {"order": 0, "draws": 1, "validation": 2, "health": 3, "accuracy": 4}


@dataclass(frozen=True)
class Trained:
    """What a finished training gives.

    Attributes:
        towers: state of the best checkpoint's towers, and of the decoder beside them where there is one.
        best_epoch: counted from 1.
        history: one row an epoch.
        seconds: of work, over all runs that it took.
    """

    towers: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, Any]]
    seconds: float


class Trainer:
    """One training job.

    Args:
        method: networks and loss.
        pool: the chips.
        seed: of order and draws.
        folder: where the state is kept.

    Raises:
        TerraprobeError: there are fewer than two train or validation chips that the loss can use.
    """

    def __init__(self, method: Method, pool: ChipPool, seed: int, folder: StateFolder) -> None:
        self.method, self.pool, self.seed, self.folder = method, pool, seed, folder
        self.recipe = method.recipe
        self.train, self.val = (pool.usable_chips(split, method.eligible(pool)) for split in ("train", "val"))
        self.batch_size = min(self.recipe.batch_size, len(self.train))
        self.epoch_steps = len(self.train) // self.batch_size
        self.steps: int = self.epoch_steps * self.recipe.epochs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.bf16 = self.recipe.precision == "bf16" or (self.recipe.precision == "auto" and self.device.type == "cuda")
        method.network.to(self.device)
        ranks.synchronise_batch_norms(method.network)
        self.optimiser = method.optimiser()
        self.step = 0
        self.done: list[tuple[float, float]] = []  # loss and gradient norm of this epoch's steps
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"gain": -float("inf"), "val_loss": float("inf"), "epoch": 0, "towers": {}}
        self.untrained: dict[str, Health] = {}
        self.strikes: dict[str, int] = {}
        self.watched: dict[str, int] = {}  # chips that a tower's health was measured on
        self.seconds = 0.0
        self._drawn = -1  # epoch that the order and draws at hand belong to

    def run(self) -> Trained:
        """Train from the last state, or from the start, to the end.

        Raises:
            TerraprobeError: the loss is not a number, or a tower has collapsed.
            SystemExit: with `EXIT_INTERRUPTED` after SIGTERM, SIGUSR1 or SIGINT; the state is on disk.
        """
        self._resume()
        if not self.untrained:
            self.untrained = ranks.of_first(self._health)
        if not self.steps:
            self._end_epoch()  # epoch 0: what training would start from
        last_write, write_seconds, clock = time.monotonic(), 0.0, time.monotonic()
        with asked_to_stop() as asked:
            while not self._finished():
                self._train_step()
                if self.step % self.epoch_steps == 0:
                    self._end_epoch()
                self.seconds, clock = self.seconds + time.monotonic() - clock, time.monotonic()
                pause = max(CHECKPOINT_SECONDS, write_seconds / WRITE_SHARE)
                stop = ranks.any_of(bool(asked))
                if stop or self._finished() or clock - last_write >= pause:
                    if ranks.rank() == 0:
                        self._save()
                    last_write = time.monotonic()
                    write_seconds = last_write - clock
                if stop and not self._finished():
                    ranks.meet()  # no process ends before the state is on disk
                    ranks.tell(
                        f"stopped by {asked[0] if asked else 'a signal'} after step {self.step} of {self.steps}; "
                        f"state in {self.folder.path}. "
                        "The same command goes on from there."
                    )
                    sys.exit(EXIT_INTERRUPTED)
        if ranks.rank() == 0:
            self.folder.keep_last()
        return Trained(self.best["towers"], self.best["epoch"], self.history, self.seconds)

    def _finished(self) -> bool:
        """After the last step, or when validation has not gained for as many epochs as the method is patient.

        Told from what every state holds, so that a resumed run ends where one that was not cut off would.
        """
        if self.step >= self.steps:
            return True
        if self.method.patience is None or self.step % self.epoch_steps:
            return False
        waited = self.step // self.epoch_steps - int(self.best["epoch"])
        return bool(waited >= self.method.patience)

    def batch(self, step: int) -> tuple[NDArray[np.intp], Batch]:
        """Chips that this process takes in a step, (B,), and what is read of them."""
        epoch, place = divmod(step, self.epoch_steps)
        if epoch != self._drawn:
            self._drawn = epoch
            self._order = self._rng("order", epoch).permutation(self.train)
            self._draws = self._rng("draws", epoch).random((len(self.pool), self.method.draws))
        chips = ranks.deal(self._order[place * self.batch_size : (place + 1) * self.batch_size])
        return chips, self._fetch(chips, self._draws[chips])

    def _train_step(self) -> None:
        rate = self.method.learning_rate(self.step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.method.network.train()
        self.optimiser.zero_grad()
        _, batch = self.batch(self.step)
        loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        ranks.average_gradients(self.method.network.parameters())
        grads = [p.grad for p in self.method.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        value = ranks.mean_of(float(loss.detach()))
        if not np.isfinite(value):
            raise TerraprobeError(
                f"step {self.step + 1}, epoch {self.step // self.epoch_steps + 1}: the loss is {value} at learning "
                f"rate {rate:.3g}. Lower lr or raise warmup in the encoder's recipe"
                f"{', or set precision to fp32' if self.bf16 else ''}."
            )
        self.optimiser.step()
        self.method.after_step()
        self.done.append((value, float(norm)))
        self.step += 1

    def _kept(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.method.kept.state_dict().items()}

    def _end_epoch(self) -> None:
        epoch = self.step // self.epoch_steps
        losses, norms = np.array(self.done or [(np.nan, np.nan)]).T
        self.done = []
        val_loss = ranks.of_first(self._validate)
        accuracy = {"val_accuracy": ranks.of_first(self._accuracy)} if self.method.supervised else {}
        gain = epoch if self.method.keeps_last else accuracy.get("val_accuracy", -val_loss)
        if gain > self.best["gain"]:
            self.best = {"gain": gain, "val_loss": val_loss, "epoch": epoch, "towers": self._kept()}
        if epoch in self.recipe.restarts and ranks.rank() == 0:
            write_weights(restart_path(self.folder.path, epoch), self._kept())
        row = {
            "step": self.step,
            "epoch": epoch,
            "loss": float(losses.mean()),
            "val_loss": val_loss,
            **accuracy,
            "lr": self.method.learning_rate(self.step - 1, self.steps) if self.steps else 0.0,
            "grad_norm": float(norms.mean()),
        }
        health = ranks.of_first(self._health)
        self.history.append(row | health_columns(health, self.untrained))
        if epoch % max(1, self.recipe.epochs // 10) == 0 or self._finished():
            told = f", validation accuracy {accuracy['val_accuracy']:.4f}" if accuracy else ""
            ranks.tell(
                f"epoch {epoch} of {self.recipe.epochs}: loss {row['loss']:.4f}, validation {val_loss:.4f}{told} "
                f"({self.best['val_loss']:.4f} in the best epoch {self.best['epoch']}), "
                f"effective rank {self.history[-1]['effective_rank']:.1f} "
                f"(untrained {self.history[-1]['random_init_rank']:.1f})"
            )
        self._watch(health, epoch)

    def _watch(self, health: Mapping[str, Health], epoch: int) -> None:
        """Stop where a tower has been collapsed for `PATIENCE` epochs after the warm-up."""
        # Classes may legitimately pull embeddings together, one direction a class; what such training is worth shows
        # in its accuracy.
        if self.step <= self.recipe.warmup * self.steps or self.method.supervised:
            return
        for tower, now in health.items():
            start = self.untrained[tower]
            self.strikes[tower] = self.strikes.get(tower, 0) + 1 if now.collapsed(start, self.method.rank_share) else 0
            if self.strikes[tower] >= PATIENCE:
                raise TerraprobeError(
                    f"tower {tower} has collapsed: after epoch {epoch} its embeddings of {self.watched[tower]} "
                    f"validation chips have effective rank {now.rank:.2f} and spread {now.std:.4f}; an untrained "
                    f"encoder has rank {start.rank:.2f} and spread {start.std:.4f} on the same chips. Nothing was "
                    "kept. Lower lr, raise warmup or batch_size, or look whether the tower's channels hold anything."
                )

    def _validate(self) -> float:
        losses = []
        self.method.network.eval()
        with torch.no_grad():
            for chips, uniform in self._val_batches():
                losses.append(float(self._loss(self._fetch(chips, uniform))))
        return float(np.mean(losses))

    def _accuracy(self) -> float:
        """Mean over all validation chips of how right their classes are called."""
        draws = self._rng("accuracy", 0).random((len(self.val), self.method.draws))
        hits = 0.0
        self.method.network.eval()
        with torch.no_grad(), self._autocast():
            for start in range(0, len(self.val), self.recipe.batch_size):
                rows = slice(start, start + self.recipe.batch_size)
                hits += float(self.method.hits(self._fetch(self.val[rows], draws[rows])).double().sum())
        return hits / len(self.val)

    def _val_batches(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """The same batches and draws after every epoch; as large as in training where there are chips enough."""
        size = min(self.recipe.batch_size, len(self.val))
        rounds = -(-self.recipe.val_batches // (len(self.val) // size))
        left = self.recipe.val_batches
        for number in range(rounds):
            rng = self._rng("validation", number)
            chips = rng.permutation(self.val)
            uniform = rng.random((len(chips), self.method.draws))
            for start in range(0, len(chips) - size + 1, size)[:left]:
                left -= 1
                yield chips[start : start + size], uniform[start : start + size]

    def _health(self) -> dict[str, Health]:
        rng = self._rng("health", 0)
        chips = np.sort(rng.permutation(self.val)[:HEALTH_CHIPS])
        self.method.network.eval()
        with torch.no_grad():
            embedded = self.method.embed(self._fetch(chips, rng.random((len(chips), self.method.draws))))
        found = {}
        for tower, (rows, present) in embedded.items():
            self.watched[tower] = int(present.sum())
            if self.watched[tower] >= MIN_CHIPS:
                found[tower] = measure_health(rows[present].cpu().numpy())
        return found

    def _fetch(self, chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        batch = self.method.fetch(self.pool, chips, uniform)
        return {
            part: {name: t.to(self.device, non_blocking=True) for name, t in tensors.items()}
            for part, tensors in batch.items()
        }

    def _loss(self, batch: Batch) -> Tensor:
        with self._autocast():
            return self.method.loss(batch)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _rng(self, stream: str, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, _STREAMS[stream], number])))

    def _save(self) -> None:
        self.folder.save(
            self.step,
            {
                "step": self.step,
                "network": self.method.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "done": self.done,
                "history": self.history,
                "best": self.best,
                "untrained": {tower: (h.std, h.rank) for tower, h in self.untrained.items()},
                "strikes": self.strikes,
                "seconds": self.seconds,
                "torch_rng": torch.get_rng_state(),
            },
        )

    def _resume(self) -> None:
        state = ranks.of_first(self.folder.load)
        if state is None:
            return
        self.method.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.untrained = {tower: Health(*values) for tower, values in state["untrained"].items()}
        for name in ("step", "done", "history", "best", "strikes", "seconds"):
            setattr(self, name, state[name])
        torch.set_rng_state(state["torch_rng"])
        ranks.tell(f"resumed after step {self.step} of {self.steps} from {self.folder.path}")
