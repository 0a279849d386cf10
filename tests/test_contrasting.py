"""Losses that bring pictures and texts together: closed forms, plain oracles, numerical gradients, two processes."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import oracles
from saywhy.errors import UsageError
from saywhy.train import distributed
from saywhy.train.contrasting import LOSSES, alignment, gathered, gathered_rows, info_nce, nt_xent, uniformity
from saywhy.train.loop import Config, fit


def vectors(n, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("s", [-0.5, 0.0, 0.8])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_two_pairs_give_the_closed_form(s, temperature):
    """Each picture is its text, and the two pairs have the cosine s."""
    seen = torch.tensor([[1.0, 0.0], [s, math.sqrt(1 - s * s)]], dtype=torch.float64)
    apart = (s - 1) / temperature
    assert float(info_nce(seen, seen, temperature)) == pytest.approx(math.log(1 + math.exp(apart)), abs=1e-9)
    assert float(nt_xent(seen, seen, temperature)) == pytest.approx(math.log(1 + 2 * math.exp(apart)), abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_losses_are_those_of_the_plain_sums(n, temperature):
    seen, said = vectors(n), vectors(n, seed=1)
    own = torch.eye(n, dtype=torch.bool)
    assert float(info_nce(seen, said, temperature)) == pytest.approx(oracles.info_nce(seen, said, temperature, own))
    assert float(nt_xent(seen, said, temperature)) == pytest.approx(oracles.nt_xent(seen, said, temperature))


def test_several_true_texts_and_hard_negatives_count_as_what_they_are():
    seen, said = vectors(4), vectors(7, seed=2)
    true = torch.eye(4, 7, dtype=torch.bool)
    true[0, 1] = true[2, 0] = True
    assert float(info_nce(seen, said, 0.2, true)) == pytest.approx(oracles.info_nce(seen, said, 0.2, true))
    nearer = said.clone()
    nearer[6] = seen[3]  # a wrong text that looks right costs more
    assert info_nce(seen, nearer, 0.2, true) > info_nce(seen, said, 0.2, true)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_gradients_are_the_numerical_ones_of_vectors_and_of_the_temperature(loss):
    seen, said = vectors(3).requires_grad_(), vectors(3, seed=1).requires_grad_()
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: loss(*given, None), (seen, said, temperature))


@pytest.mark.parametrize("loss", LOSSES.values())
def test_losses_do_not_depend_on_lengths_or_on_the_order_of_pairs(loss):
    seen, said = vectors(5), vectors(5, seed=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    base = loss(seen, said, 0.3, None)
    torch.testing.assert_close(loss(3 * seen, 0.1 * said, 0.3, None), base)
    torch.testing.assert_close(loss(seen[order], said[order], 0.3, None), base)
    assert loss(seen, said[order], 0.3, None) != base


def test_nt_xent_refuses_texts_that_are_no_pairs():
    with pytest.raises(UsageError, match="every picture with one text"):
        nt_xent(vectors(3), vectors(4), 0.1)


def test_alignment_and_uniformity_are_those_of_wang_and_isola():
    seen = F.normalize(vectors(6), dim=1)
    assert alignment(seen, 2 * seen) == pytest.approx(0)
    assert alignment(seen, -seen) == pytest.approx(4)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(opposite) == pytest.approx(-8)
    pairs = [math.exp(-2 * float((a - b).square().sum())) for i, a in enumerate(seen) for b in seen[:i]]
    assert uniformity(seen) == pytest.approx(math.log(sum(pairs) / len(pairs)))


# --------------------------------------------------------------------------------------------------
# Several processes.


class Two(nn.Module):
    """Two linear towers and a temperature."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.see, self.read = nn.Linear(6, 4), nn.Linear(5, 4)
        self.scale = nn.Parameter(torch.tensor(1.0))


class Rows:
    """Pictures and texts as numbers."""

    def __len__(self):
        return 16

    def __getitem__(self, rows):
        return vectors(16, 6).float()[rows], vectors(16, 5, seed=1).float()[rows]


def step_of(net):
    def step(batch):
        seen, said = gathered(net.see(batch[0])), gathered(net.read(batch[1]))
        return {"loss": info_nce(seen, said, (-net.scale).exp())}

    return step


def learned():
    net = Two()
    ended = fit(net, step_of(net), Rows(), Config(epochs=3, batch_size=8, lr=1e-2, clip=None))
    return {"losses": [row["loss"] for row in ended.history], "net": net.state_dict()}


def one_of_two(number: int, folder: Path) -> None:
    with distributed.joined("gloo", init_method=(folder / "meeting").as_uri(), rank=number, world_size=2):
        found = learned()
        found["rows"] = gathered_rows([f"{number}-{n}" for n in range(2)])
        try:
            gathered(torch.zeros(2 + number, 3))
        except UsageError as e:
            found["uneven"] = str(e)
    torch.save(found, folder / f"{number}.pt")


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_the_loss_over_two_processes_is_that_of_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    alone, both = learned(), [torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in range(2)]
    for found in both:
        assert found["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        for name, value in alone["net"].items():
            torch.testing.assert_close(found["net"][name], value, atol=1e-5, rtol=0)
        assert "share equally" in found["uneven"]
        assert found["rows"] == ["0-0", "1-0", "0-1", "1-1"]
    assert alone["losses"][-1] < alone["losses"][0]
