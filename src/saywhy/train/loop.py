"""The one training loop: every part that saywhy can train goes through `fit`.

A part is an `nn.Module`; only its own parameters that ask for gradients are trained, nothing else is touched. A step
turns a batch into named losses (scalars), "loss" among them, and knows everything else: the loop knows none of it.

Randomness is drawn anew for every step from (seed, step, process), so a run that was interrupted goes on bit by bit
as if it had not been, and no state of a random generator needs saving. Steps draw with torch, not with numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from saywhy.errors import UsageError, unknown
from saywhy.locking import ALONE
from saywhy.train import checkpoint as checkpoints
from saywhy.train.distributed import average, broadcast, from_first, mean_of, rank, share

Step = Callable[[Any], dict[str, Tensor]]
STOPPING = ("loss_threshold", "patience", "checkpoint_every")  # settings that may change while a run is interrupted


class Examples(Protocol):
    """Where batches come from: any number of examples, asked for by their row numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor) -> Any: ...


# Share of the steps done, in [0, 1] -> share of the learning rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "l-cam": lambda t: 0.75 ** math.floor(7 * t + 1e-9),  # 0.75 an epoch, of seven (Gkartzonika et al. 2022)
    "cosine": lambda t: 0.5 + 0.5 * math.cos(math.pi * t),
    "one-cycle": lambda t: 0.04 + 0.96 * t / 0.2 if t < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (t - 0.2) / 0.8),
}

OPTIMISERS: dict[str, Callable[[list[dict[str, Any]], float], torch.optim.Optimizer]] = {
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True),
}


@dataclass(frozen=True)
class Config:
    """How to train.

    `loss_threshold` stops once the watched loss is below it, `patience` after so many epochs without a new best. The
    watched loss is that of the held-out examples, or the epoch's mean where there are none.
    """

    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-3
    optimiser: str = "adamw"  # a row of OPTIMISERS
    schedule: str = "one-cycle"  # a row of SCHEDULES
    weight_decay: float = 0.01  # not on biases and norms
    clip: float | None = 1.0  # largest norm of all gradients together
    loss_threshold: float | None = None
    patience: int | None = None
    seed: int = 0
    checkpoint_every: int | None = None  # steps; None: at the end of every epoch
    amp: bool = False  # bfloat16 where torch allows it


@dataclass
class State:
    """Where a run stands: everything that a checkpoint keeps beside the tensors."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the losses, since the epoch began
    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    best: float = math.inf
    best_epoch: int = -1
    stopped: str = ""


@dataclass(frozen=True)
class Fitted:
    """How a run ended. `stopped`: "epochs", "threshold", "patience", or why a loss was not finite.

    The part holds the weights of `best_epoch` where there were held-out examples, else the last good ones. `history`
    has a row an epoch: the mean of each named loss, and "held_out".
    """

    stopped: str
    steps: int
    best: float
    best_epoch: int
    history: list[dict[str, float]]


Told = Callable[[int, dict[str, float]], None]


@dataclass
class _Run:
    """What a run consists of; `kept` are the weights of the best epoch, of the last one without held-out examples."""

    part: nn.Module
    step: Step
    examples: Examples
    config: Config
    held_out: Examples | None
    optimiser: torch.optim.Optimizer
    kept: dict[str, Tensor]
    state: State = field(default_factory=State)

    @property
    def length(self) -> int:
        """Steps an epoch; what does not fill a batch waits for another epoch's order."""
        return max(1, len(self.examples) // self.config.batch_size)

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs must share for one to go on from the other: not when to stop."""
        own = asdict(self.config) | {"examples": len(self.examples)}
        return {name: value for name, value in own.items() if name not in STOPPING}


def fit(
    part: nn.Module,
    step: Step,
    examples: Examples,
    config: Config | None = None,
    *,
    held_out: Examples | None = None,
    checkpoint: str | Path | None = None,
    told: Told = lambda epoch, row: None,
) -> Fitted:
    """Trains a part, in place. It is in train mode during steps and in eval mode on held-out examples.

    With `checkpoint` the run is saved there and, if the file exists, goes on from it, bit by bit as without the
    break. A loss or gradient that is not finite ends the run with the last good weights. `told` gets each finished
    epoch and its losses. Where `torch.distributed` is initialised (`distributed.launched`), each process takes its
    share of every batch and gradients are averaged: what is learned is what one process learns from the whole batches,
    as far as a step draws nothing at random. The first process writes the checkpoint and tells.

    Args:
        part: what is trained; its parameters without `requires_grad` stay as they are.
        step: batch -> named scalar losses; "loss" is minimised, the others are recorded.
        examples: rows (n,) -> batch.
        config: see Config.
        held_out: examples that are never trained on and choose the best epoch.
        checkpoint: a .safetensors file.
        told: progress.

    Raises:
        UsageError: nothing to train, no examples, an unknown row, or a checkpoint of another run.
    """
    config = config or Config()
    _check(part, examples, held_out, config)
    optimiser = OPTIMISERS[config.optimiser](_groups(part, config), config.lr)
    run = _Run(part, step, examples, config, held_out, optimiser, _snapshot(part))
    file = Path(checkpoint) if checkpoint is not None else None
    resumed = file is not None and _load(file, run)
    if resumed and not run.state.stopped and run.state.history and run.state.step % run.length == 0:
        _judge(run)  # the reasons to stop may be others by now
    broadcast(part)
    with _as_found(part):
        while not run.state.stopped:
            row = _one_step(run)
            if row is not None and rank() == 0:
                told(len(run.state.history) - 1, row)
            due = run.state.step % (config.checkpoint_every or run.length) == 0
            if file is not None and (due or run.state.stopped) and rank() == 0:
                _save(file, run)
    state = run.state
    if held_out is not None or state.stopped.startswith("step"):
        part.load_state_dict(run.kept)
    return Fitted(state.stopped, state.step, state.best, state.best_epoch, state.history)


def _one_step(run: _Run) -> dict[str, float] | None:
    """One batch; the means of its losses if that ended an epoch."""
    config, state = run.config, run.state
    epoch, place = divmod(state.step, run.length)
    if epoch >= config.epochs:
        state.stopped = "epochs"
        return None
    order = _order(config.seed, epoch, len(run.examples))
    rows, weight = share(order[place * config.batch_size : (place + 1) * config.batch_size])
    for group in run.optimiser.param_groups:
        group["lr"] = config.lr * SCHEDULES[config.schedule](state.step / (config.epochs * run.length))
    with ALONE:  # its random numbers are torch's own, which the passes of other threads leave and find
        _seed(config.seed, state.step)
        losses, trouble = _update(run, run.examples[rows], weight)
    if trouble:
        state.stopped = f"step {state.step}: {trouble}; the last good weights are kept"
        return None
    state.step += 1
    for name, value in losses.items():
        state.sums[name] = state.sums.get(name, 0.0) + value
    return _end_epoch(run) if place == run.length - 1 else None


def _update(run: _Run, batch: Any, weight: float) -> tuple[dict[str, float], str]:
    """Changes the weights once: the losses as numbers, and what was wrong, if anything; then nothing was changed.

    `weight` is that of this process's share of the batch.
    """
    parameters = [p for p in run.part.parameters() if p.requires_grad]
    run.part.train()
    run.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(parameters[0].device.type, torch.bfloat16) if run.config.amp else nullcontext():
        losses = run.step(batch)
    if "loss" not in losses:
        raise UsageError(f"a step must name one of its losses 'loss'; it gave {', '.join(losses) or 'none'}")
    (losses["loss"] * weight).backward()  # type: ignore[no-untyped-call]
    average([p.grad for p in parameters if p.grad is not None])
    norm = nn.utils.clip_grad_norm_(parameters, run.config.clip if run.config.clip is not None else math.inf)
    values = {name: mean_of(value, weight) for name, value in losses.items()}
    if not math.isfinite(values["loss"]):
        return values, f"the loss is {values['loss']}"
    if not math.isfinite(float(norm)):
        return values, "a gradient is not finite"
    run.optimiser.step()
    return values, ""


def _end_epoch(run: _Run) -> dict[str, float]:
    """Measures, remembers the best, decides whether to stop."""
    config, state, epoch = run.config, run.state, len(run.state.history)
    row = {name: total / run.length for name, total in state.sums.items()}
    broadcast(run.part)  # norms have seen another share of the batch in every process
    if (held_out := run.held_out) is not None:
        # One process measures: were two to differ in the last digit, one might stop and the other wait for it.
        row["held_out"] = from_first(lambda: mean_loss(run.part, run.step, held_out, config.batch_size))
    watched = row.get("held_out", row["loss"])
    state.history.append(row)
    state.sums.clear()
    if watched < state.best:
        state.best, state.best_epoch = watched, epoch
    if state.best_epoch == epoch or run.held_out is None:
        run.kept = _snapshot(run.part)
    _judge(run)
    return row


def _judge(run: _Run) -> None:
    """Whether the last epoch is a reason to stop."""
    config, state = run.config, run.state
    watched = state.history[-1].get("held_out", state.history[-1]["loss"])
    if not math.isfinite(watched):
        state.stopped = f"step {state.step}: the held-out loss is {watched}; the last good weights are kept"
    elif config.loss_threshold is not None and watched < config.loss_threshold:
        state.stopped = "threshold"
    elif config.patience is not None and len(state.history) - 1 - state.best_epoch >= config.patience:
        state.stopped = "patience"


@torch.no_grad()
def mean_loss(part: nn.Module, step: Step, examples: Examples, batch_size: int = 64) -> float:
    """The mean of "loss" over examples, the part in eval mode; its modes are left as found."""
    total = 0.0
    with _as_found(part):
        part.eval()
        for rows in torch.split(torch.arange(len(examples)), batch_size):
            total += float(step(examples[rows])["loss"]) * len(rows)
    return total / len(examples)


@dataclass(frozen=True)
class Copied:
    """Names of the parameters and buffers that were copied, and of those of the part that were not."""

    copied: tuple[str, ...]
    left: tuple[str, ...]


@torch.no_grad()
def copy_compatible(part: nn.Module, source: Mapping[str, Tensor]) -> Copied:
    """Starts a part from another one's state dict: everything with the same name and shape is copied.

    Raises:
        UsageError: nothing has the same name and shape.
    """
    own = part.state_dict()
    fits = [name for name, value in own.items() if name in source and source[name].shape == value.shape]
    if not fits:
        raise UsageError(
            f"nothing to copy: of {len(own)} tensors such as {next(iter(own), 'none')!r} none has a namesake of its "
            "shape in the source"
        )
    for name in fits:
        own[name].copy_(source[name])
    return Copied(tuple(fits), tuple(n for n in own if n not in set(fits)))


# --------------------------------------------------------------------------------------------------
# Small print.


def _check(part: nn.Module, examples: Examples, held_out: Examples | None, config: Config) -> None:
    if config.optimiser not in OPTIMISERS:
        raise unknown("optimiser", config.optimiser, OPTIMISERS)
    if config.schedule not in SCHEDULES:
        raise unknown("schedule", config.schedule, SCHEDULES)
    if config.epochs < 1 or config.batch_size < 1 or not config.lr > 0:
        raise UsageError(f"epochs and batch_size are whole numbers from 1 on and lr is above 0; got {config}")
    if not len(examples) or (held_out is not None and not len(held_out)):
        raise UsageError("training needs at least one example, and one held-out example where those are given")
    if not any(p.requires_grad for p in part.parameters()):
        raise UsageError("nothing to train: no parameter of the part asks for gradients (requires_grad)")


def _groups(part: nn.Module, config: Config) -> list[dict[str, Any]]:
    trained = [p for p in part.parameters() if p.requires_grad]
    decayed, plain = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() <= 1]
    rows = [(decayed, config.weight_decay), (plain, 0.0)]
    return [{"params": params, "weight_decay": decay} for params, decay in rows if params]


def _seed(seed: int, step: int) -> None:
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + rank())


def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def _snapshot(part: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in part.state_dict().items()}


@contextmanager
def _as_found(part: nn.Module) -> Iterator[None]:
    """Leaves the modes of the part's modules, and the caller's random numbers, as they were."""
    modes = [(module, module.training) for module in part.modules()]
    device = next(iter(part.parameters())).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


# --------------------------------------------------------------------------------------------------
# Checkpoints.


def _save(file: Path, run: _Run) -> None:
    moments = {
        f"{number}.{name}": value
        for number, values in run.optimiser.state_dict()["state"].items()
        for name, value in values.items() if isinstance(value, Tensor)
    }  # fmt: skip
    groups = {"part": run.part.state_dict(), "kept": run.kept, "optimiser": moments}
    checkpoints.write(file, groups, {"state": asdict(run.state), "run": run.identity})


def _load(file: Path, run: _Run) -> bool:
    """Goes on from a checkpoint; whether there was one. The first process reads it for all."""
    found = from_first(lambda: checkpoints.read(file) if file.exists() else None)
    if found is None:
        return False
    groups, header = found
    try:
        was, state = header["run"], State(**header["state"])
    except (KeyError, TypeError) as e:
        raise checkpoints.unreadable(file, e) from e
    differ = [f"{k} {was.get(k)} (now {now})" for k, now in run.identity.items() if was.get(k) != now]
    if differ:
        raise UsageError(f"{file}: a checkpoint of another run: {', '.join(differ)}; delete it or use its settings")
    try:
        run.part.load_state_dict(groups.get("part", {}))
    except RuntimeError as e:
        raise UsageError(f"{file}: a checkpoint of another part ({str(e).splitlines()[-1].strip()})") from e
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in groups.get("optimiser", {}).items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = value
    run.optimiser.load_state_dict({"state": moments, "param_groups": run.optimiser.state_dict()["param_groups"]})
    run.kept, run.state = groups.get("kept", {}), state
    return True
