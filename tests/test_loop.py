"""The training loop: exact resumption, reasons to stop, determinism, copied parameters, several processes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from saywhy.errors import UsageError
from saywhy.train import distributed
from saywhy.train.loop import Config, Step, copy_compatible, fit, mean_loss

Batch = tuple[Tensor, Tensor]


class Points:
    """Points of the plane, class 1 above a line."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.x = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x.sum(dim=1) > 0).long()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor) -> Batch:
        return self.x[rows], self.y[rows]


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def step_of(net: nn.Module) -> Step:
    def step(batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        noisy = x + 0.05 * torch.randn_like(x) if net.training else x
        scores = net(noisy)
        return {"loss": F.cross_entropy(scores, y), "accuracy": (scores.argmax(1) == y).float().mean()}

    return step


def weights(net: nn.Module) -> Tensor:
    return torch.cat([v.double().flatten() for v in net.state_dict().values()])


class Break(Exception):
    pass


def broken_off(step: Step, after: int) -> Step:
    """The step, which raises in place of its call number `after`."""
    calls = 0

    def counted(batch: Batch) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Break
        return step(batch)

    return counted


CONFIG = Config(epochs=5, batch_size=16, lr=0.02, seed=7)


def test_training_learns_and_counts() -> None:
    net, told = network(), []
    ended = fit(net, step_of(net), Points(128), CONFIG, told=lambda epoch, row: told.append((epoch, row)))
    assert (ended.stopped, ended.steps, len(ended.history)) == ("epochs", 40, 5)
    assert [epoch for epoch, _ in told] == [0, 1, 2, 3, 4]
    assert set(ended.history[0]) == {"loss", "accuracy"}
    net.eval()
    assert mean_loss(net, step_of(net), Points(200, seed=9)) < 0.3


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("after", [3, 8, 21])
def test_an_interrupted_run_goes_on_bit_by_bit(tmp_path: Path, optimiser: str, after: int) -> None:
    config = replace(CONFIG, optimiser=optimiser, checkpoint_every=3)
    straight, resumed, file = network(), network(), tmp_path / "run.safetensors"
    first = fit(straight, step_of(straight), Points(128), config)
    with pytest.raises(Break):
        fit(resumed, broken_off(step_of(resumed), after), Points(128), config, checkpoint=file)
    fresh = network()
    second = fit(fresh, step_of(fresh), Points(128), config, checkpoint=file)
    assert torch.equal(weights(straight), weights(fresh))
    assert first.history == second.history


def test_resumption_keeps_the_best_epoch(tmp_path: Path) -> None:
    config = replace(CONFIG, lr=0.5, schedule="constant", checkpoint_every=2)
    straight, fresh, file = network(), network(), tmp_path / "run.safetensors"
    first = fit(straight, step_of(straight), Points(64), config, held_out=Points(64, seed=1))
    torn = network()
    with pytest.raises(Break):
        fit(torn, broken_off(step_of(torn), 27), Points(64), config, held_out=Points(64, seed=1), checkpoint=file)
    second = fit(fresh, step_of(fresh), Points(64), config, held_out=Points(64, seed=1), checkpoint=file)
    assert (first.best, first.best_epoch) == (second.best, second.best_epoch)
    assert torch.equal(weights(straight), weights(fresh))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    net = network()
    fit(net, step_of(net), Points(64), CONFIG, checkpoint=file)
    again = network()
    ended = fit(again, broken_off(step_of(again), 0), Points(64), CONFIG, checkpoint=file)
    assert ended.stopped == "epochs"
    assert torch.equal(weights(net), weights(again))


def test_an_interrupted_run_may_be_stopped_by_another_threshold(tmp_path: Path) -> None:
    file, net, longer = tmp_path / "run.safetensors", network(), network()
    with pytest.raises(Break):
        fit(net, broken_off(step_of(net), 9), Points(128), CONFIG, checkpoint=file)
    eager = replace(CONFIG, loss_threshold=100.0)
    assert fit(longer, step_of(longer), Points(128), eager, checkpoint=file).stopped == "threshold"


def test_a_checkpoint_is_safetensors_with_json(tmp_path: Path) -> None:
    file, net = tmp_path / "folder" / "run.safetensors", network()
    fit(net, step_of(net), Points(64), CONFIG, checkpoint=file)
    with safe_open(file, "pt") as saved:
        state = json.loads(saved.metadata()["state"])
        kinds = {key.split(".")[0] for key in saved.keys()}  # noqa: SIM118
    assert state["step"] == 20
    assert kinds == {"part", "kept", "optimiser"}
    assert [p.name for p in file.parent.iterdir()] == ["run.safetensors"]


def test_a_checkpoint_of_another_run_is_an_error(tmp_path: Path) -> None:
    file, net = tmp_path / "run.safetensors", network()
    fit(net, step_of(net), Points(64), CONFIG, checkpoint=file)
    with pytest.raises(UsageError, match=r"lr 0\.02 \(now 0\.1\)"):
        fit(net, step_of(net), Points(64), replace(CONFIG, lr=0.1), checkpoint=file)
    other = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="another part"):
        fit(other, step_of(other), Points(64), CONFIG, checkpoint=file)
    file.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="delete it"):
        fit(net, step_of(net), Points(64), CONFIG, checkpoint=file)


def test_it_stops_below_the_threshold() -> None:
    net = network()
    ended = fit(net, step_of(net), Points(128), replace(CONFIG, epochs=50, loss_threshold=0.4))
    assert ended.stopped == "threshold"
    assert ended.history[-1]["loss"] < 0.4 <= ended.history[-2]["loss"]


def test_patience_ends_a_run_that_gets_no_better_and_keeps_the_best() -> None:
    net = network()
    noise = Points(64, seed=1)
    noise.y = torch.randint(0, 2, (64,), generator=torch.Generator().manual_seed(5))  # nothing can be learned of it
    config = replace(CONFIG, epochs=60, patience=3, lr=0.05, schedule="constant")
    ended = fit(net, step_of(net), Points(64), config, held_out=noise)
    assert ended.stopped == "patience"
    assert len(ended.history) == ended.best_epoch + 4
    assert mean_loss(net, step_of(net), noise, 16) == pytest.approx(ended.best, abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_leaves_the_last_good_weights(bad: float) -> None:
    net, calls, good = network(), 0, []
    plain = step_of(net)

    def step(batch: Batch) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        losses = plain(batch)
        if calls == 20:
            losses["loss"] = losses["loss"] * bad
        return losses

    ended = fit(net, step, Points(128), CONFIG, told=lambda epoch, row: good.append(weights(net).clone()))
    assert ended.stopped.startswith("step 19: the loss is")
    assert torch.equal(weights(net), good[-1])


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    net = nn.Linear(2, 2)
    before = weights(net).clone()

    def step(batch: Batch) -> dict[str, Tensor]:
        return {"loss": (net(batch[0]) * 0).sum().sqrt()}  # 0, and its slope is infinite

    ended = fit(net, step, Points(16), CONFIG)
    assert "gradient" in ended.stopped
    assert torch.equal(weights(net), before)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))  # of no consequence
        net = network()
        fit(net, step_of(net), Points(64), replace(CONFIG, seed=seed))
        found.append(weights(net))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_frozen_parameters_modes_and_random_numbers_are_left_as_found() -> None:
    net = network()
    net[0].requires_grad_(False)
    net[1].eval()
    frozen, state = net[0].weight.clone(), torch.get_rng_state()
    fit(net, step_of(net), Points(64), CONFIG)
    assert torch.equal(net[0].weight, frozen)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in net] == [True, False, True, True, True]


def test_gradients_are_clipped() -> None:
    net = nn.Linear(2, 2, bias=False)
    before = net.weight.detach().clone()

    def step(batch: Batch) -> dict[str, Tensor]:
        return {"loss": 1e4 * net(batch[0]).sum()}

    config = Config(epochs=1, batch_size=16, lr=1.0, optimiser="sgd", schedule="constant", weight_decay=0.0, clip=0.5)
    fit(net, step, Points(16), config)
    assert (net.weight - before).norm().item() == pytest.approx(0.95, abs=1e-4)  # Nesterov's first step: 1.9 times


def test_compatible_parameters_are_copied_and_the_rest_is_named() -> None:
    source, target = network(), nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))
    copied = copy_compatible(target, source.state_dict())
    assert torch.equal(target[0].weight, source[0].weight)
    assert "0.weight" in copied.copied
    assert set(copied.left) == {"3.weight", "3.bias"}
    with pytest.raises(UsageError, match="nothing to copy"):
        copy_compatible(nn.Linear(3, 3), source.state_dict())


@pytest.mark.parametrize(
    ("config", "prepare", "words"),
    [
        (replace(CONFIG, optimiser="adam"), lambda net: net, "unknown optimiser"),
        (replace(CONFIG, schedule="one-cycl"), lambda net: net, "did you mean 'one-cycle'"),
        (replace(CONFIG, epochs=0), lambda net: net, "epochs"),
        (CONFIG, lambda net: net.requires_grad_(False), "nothing to train"),
    ],
)
def test_wrong_settings_are_told(config: Config, prepare: Callable[[nn.Module], nn.Module], words: str) -> None:
    net = prepare(network())
    with pytest.raises(UsageError, match=words):
        fit(net, step_of(net), Points(16), config)


def test_a_step_without_a_loss_is_told() -> None:
    net = network()
    with pytest.raises(UsageError, match="'loss'"):
        fit(net, lambda batch: {"error": net(batch[0]).sum()}, Points(16), CONFIG)


# --------------------------------------------------------------------------------------------------
# Half precision.


def test_bfloat16_learns_and_goes_on_bit_by_bit(tmp_path: Path) -> None:
    config = replace(CONFIG, amp=True, checkpoint_every=3)
    seen: set[torch.dtype] = set()

    def stepping(net: nn.Module) -> Step:
        net[0].register_forward_hook(lambda module, given, out: seen.add(out.dtype))
        return step_of(net)

    straight, torn, fresh, file = network(), network(), network(), tmp_path / "run.safetensors"
    first = fit(straight, stepping(straight), Points(128), config)
    assert seen == {torch.bfloat16}
    assert first.history[-1]["loss"] < 0.5 * first.history[0]["loss"]
    assert {v.dtype for v in straight.state_dict().values()} == {torch.float32, torch.int64}
    with pytest.raises(Break):
        fit(torn, broken_off(stepping(torn), 10), Points(128), config, checkpoint=file)
    second = fit(fresh, stepping(fresh), Points(128), config, checkpoint=file)
    assert torch.equal(weights(straight), weights(fresh))
    assert first.history == second.history
    with pytest.raises(UsageError, match="amp True"):
        fit(fresh, stepping(fresh), Points(128), replace(config, amp=False), checkpoint=file)


# --------------------------------------------------------------------------------------------------
# Two processes: each test starts them once.

SHARED = Config(epochs=4, batch_size=15, lr=0.05, weight_decay=0.0, schedule="constant", checkpoint_every=3, patience=3)
Results = dict[str, Any]
LINUX = sys.platform == "linux"


def plain(seed: int = 0) -> tuple[nn.Module, Step]:
    """A part whose step draws nothing at random, so that two processes can learn exactly what one learns."""
    torch.manual_seed(seed)
    net = nn.Linear(2, 2)
    return net, lambda batch: {"loss": F.cross_entropy(net(batch[0]), batch[1])}


def train(folder: Path, seed: int = 0) -> Results:
    """A whole run with held-out points, and a run that is interrupted in the middle of an epoch and goes on."""
    told, file = list[int](), folder / "run.safetensors"
    net, step = plain(seed)
    whole = fit(net, step, Points(64), SHARED, held_out=Points(32, 1), told=lambda epoch, row: told.append(epoch))
    straight, step = plain()
    fit(straight, step, Points(64), SHARED)
    torn, step = plain()
    with suppress(Break):
        fit(torn, broken_off(step, 7), Points(64), SHARED, checkpoint=file)
    wrote = file.exists()
    fresh, step = plain(seed + 1)
    fit(fresh, step, Points(64), SHARED, checkpoint=file)
    return {
        "whole": weights(net), "history": whole.history, "stopped": whole.stopped, "told": told, "wrote": wrote,
        "straight": weights(straight), "resumed": weights(fresh), "batch": steps_of_few(folder),
    }  # fmt: skip


def steps_of_few(folder: Path) -> Tensor:
    """Batches of one: a process without a share counts for nothing."""
    net, step = plain()
    fit(net, step, Points(3), replace(SHARED, batch_size=1))
    return weights(net)


def one_of_two(number: int, folder: Path) -> None:
    torch.set_num_threads(1)
    (folder / str(number)).mkdir()
    meeting = f"file://{folder / 'meeting'}"
    with distributed.joined("gloo", init_method=meeting, rank=number, world_size=2):
        found = train(folder / str(number), seed=5 * number)
        other = replace(SHARED, lr=0.5)
        net, step = plain()
        with pytest.raises(UsageError, match="another run"):  # in both, though only the first can see the file
            fit(net, step, Points(64), other, checkpoint=folder / str(number) / "run.safetensors")
        assert not LINUX or [name for name in threads() if "gloo" in name]
    torch.save({**found, "left": [name for name in threads() if "gloo" in name]}, folder / f"{number}.pt")


def threads() -> list[str]:
    """The names of this process's threads, where the system tells them."""
    return [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()] if LINUX else []


def test_two_processes_learn_what_one_learns_and_the_first_alone_writes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{n}.pt") for n in (0, 1))
    (tmp_path / "alone").mkdir()
    alone = train(tmp_path / "alone")
    for key in ("whole", "straight", "resumed", "batch"):
        assert torch.equal(first[key], second[key]), key
        assert torch.allclose(first[key], alone[key], atol=1e-5), key
    assert torch.equal(first["straight"], first["resumed"])
    assert first["history"] == second["history"]
    for one, two in zip(alone["history"], first["history"], strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    assert (first["stopped"], first["told"], second["told"]) == (alone["stopped"], alone["told"], [])
    assert (first["wrote"], second["wrote"]) == (True, False)
    assert first["left"] == second["left"] == []  # a thread that outlives its group aborts Python as it ends
    assert not list((tmp_path / "1").iterdir())


def test_a_process_that_runs_alone_meets_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in distributed.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    with distributed.launched():
        assert not distributed.together()
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "nowhere"}.items():
        monkeypatch.setenv(name, value)
    with distributed.launched():
        assert not distributed.together()
