"""The maps that the refined head is given, written out slowly; and what spreads goes to what is alike and near."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.lcam import refine
from saywhy.lcam.refine import Refined, principal

N, K, R, SIDE = 2, 5, 20, 6


def case() -> tuple[Refined, Tensor, Tensor, Tensor]:
    """A head on one layer, its activations, the classes asked of each image and the scores."""
    g = torch.Generator().manual_seed(3)
    A = torch.randn(N, K, SIDE, SIDE, generator=g)
    own = torch.randn(R, K, generator=g)
    down, middle, white = principal(A)
    head = Refined(own, down=down, middle=middle, white=white)
    return head, A, torch.tensor([[3, 7], [1, 1]]), torch.randn(N, R, generator=g)


def standard(m: Tensor) -> Tensor:
    c = m - m.mean()
    return c / (c.std() + 1e-3 * m.abs().max() + 1e-6)


def test_the_maps_of_a_class_are_cam_its_positive_part_two_posteriors_and_the_strongest_rival() -> None:
    head, A, classes, scores = case()
    got = head.basis([A], classes, scores)
    for n in range(N):
        best = scores[n].argsort(descending=True)[: refine.RIVALS].tolist()
        for m in range(2):
            c = int(classes[n, m])
            cam = torch.einsum("k,khw->hw", head.own[c], A[n])
            rivals = torch.stack([torch.einsum("k,khw->hw", head.own[r], A[n]) for r in best if r != c])
            other = rivals.exp().sum(0).log()
            cold = (refine.COLD * rivals).exp().sum(0).log()
            soft = -(1 + (cold - refine.COLD * cam).exp()).log()
            posterior = 1 / (1 + (other - cam).exp())
            for i, expected in enumerate((cam, cam.clamp_min(0), soft, posterior, other)):
                assert torch.allclose(got[n, m, i], standard(expected), atol=1e-3), i


def test_what_all_classes_share_is_the_energy_of_the_cells_the_centre_and_the_details() -> None:
    head, A, classes, scores = case()
    got = head.basis([A], classes, scores)[:, :, refine.OF_CLASS :]
    assert torch.equal(got[:, 0], got[:, 1])
    for n in range(N):
        assert torch.allclose(got[n, 0, 0], standard(A[n].clamp_min(0).sum(0)), atol=1e-3)
        assert torch.allclose(got[n, 0, 1], standard(A[n].norm(dim=0)), atol=1e-3)
        codes = torch.einsum("pj,jhw->phw", head.down, A[n]) - head.middle[:, None, None]
        assert torch.allclose(got[n, 0, 2], standard(codes.norm(dim=0)), atol=1e-3)
        details = codes[: refine.DETAILS] * head.white[: refine.DETAILS, None, None]
        assert torch.allclose(got[n, 0, refine.SHARED :], details, atol=1e-4)
    u = ((torch.arange(SIDE) + 0.5) / SIDE - 0.5) / 0.25
    centre = torch.exp(-0.5 * (u[:, None] ** 2 + u[None] ** 2))
    assert torch.allclose(got[0, 0, 3], standard(centre), atol=1e-4)


def test_the_codes_of_cells_are_their_standardised_principal_parts() -> None:
    A = (
        torch.randn(40, 4, 5, 5, generator=torch.Generator().manual_seed(1))
        * torch.tensor([1.0, 5.0, 0.2, 2.0])[:, None, None]
    )
    A[:, 1] += 3 * A[:, 0]
    down, middle, white = principal(A)
    codes = torch.einsum("pj,njhw->pnhw", down, A).flatten(1) - middle[:, None]
    assert torch.allclose(codes.mean(1), torch.zeros(4), atol=1e-3)
    spread = codes.var(dim=1)
    assert (spread[:-1] >= spread[1:] - 1e-3).all(), "the strongest direction comes first"
    assert torch.allclose(spread * white**2, torch.ones(4), atol=0.02), "whitening brings each to spread 1"
    assert torch.allclose(torch.corrcoef(codes), torch.eye(4), atol=0.02), "and they are apart"
    few, _, _ = principal(torch.randn(60, 40, 4, 4, generator=torch.Generator().manual_seed(2)))
    assert len(few) == refine.DIRECTIONS


def two_things() -> tuple[Tensor, Tensor]:
    """Activations (1, 3, 8, 8) of two kinds of cells, the left half and the right half; CAM is one cell at the left."""
    A = torch.zeros(1, 3, 8, 8)
    A[:, 0, :, :4], A[:, 1, :, 4:] = 1.0, 1.0
    A[0, 2, 3, 3] = 4.0
    return A, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.1, 0.0]])


def spread() -> Tensor:
    A, own = two_things()
    down, middle, white = principal(A[:, :2].contiguous())
    head = Refined(own, down=F.pad(down, (0, 1)), middle=middle, white=white)
    return head.basis([A], torch.tensor([[0]]), torch.tensor([[1.0, 0.0]]))[0, 0, 5]


def test_what_is_spread_goes_to_cells_that_look_alike_rather_than_to_others() -> None:
    there = spread()
    assert float(there[:, :4].min()) > float(there[:, 4:].max())
    # The cell's neighbour at the right is nearer than the left edge, but of another kind.
    assert float(there[3, 0]) > float(there[3, 4])


def test_what_is_spread_goes_to_near_cells_rather_than_to_far_ones() -> None:
    there = spread()
    assert float(there[3, 3]) > float(there[3, 1]) > float(there[7, 0])
    assert float(there[3, 3]) > float(there[6, 3])


@pytest.mark.parametrize("count", [2, 4])
def test_the_reach_of_spreading_is_a_share_of_the_picture_whatever_the_grid(count: int) -> None:
    A, _ = two_things()
    head = Refined(torch.ones(2, 3), down=torch.ones(1, 3), middle=torch.zeros(1), white=torch.ones(1))
    away, centre = head._place((7 * count, 7 * count), A)
    across = 7 * count - 1
    step = 14 / (7 * count)
    assert float(away[0, across]) == pytest.approx((across * step) ** 2 / (2 * refine.REACH**2), rel=1e-4)
    assert float(away[0, 0]) == 0 and torch.allclose(away, away.T)
    middle = 7 * count // 2
    assert float(centre.argmax()) // (7 * count) in (middle - 1, middle) and float(centre[0, 0]) < 0


def test_maps_from_0_to_1_reach_both_ends_and_a_flat_one_is_0() -> None:
    m = torch.tensor([[[1.0, 3.0], [2.0, -1.0]], [[5.0, 5.0], [5.0, 5.0]]])
    got = refine.from_0_to_1(m)
    assert torch.allclose(got[0], torch.tensor([[0.5, 1.0], [0.75, 0.0]])) and float(got[1].abs().max()) == 0


def test_the_sigmoid_of_cam_is_steep_and_leans_to_the_class() -> None:
    basis = torch.tensor([-1.0, 0.0, 1.0])[None, None, None]
    expected = [1 / (1 + math.exp(-(refine.SLOPE * v + refine.SHIFT))) for v in (-1.0, 0.0, 1.0)]
    assert refine.squashed(basis).flatten().tolist() == pytest.approx(expected)
    assert refine.SLOPE > 0 and expected[1] > 0.5


def test_dropping_maps_is_for_training_alone() -> None:
    head, A, classes, scores = case()
    basis = head.basis([A], classes, scores)[:, 0]
    net = head.member(0)
    net.eval()
    assert torch.equal(net(basis), net(basis)) and torch.allclose(net(basis), basis[:, 0])
    net.train()
    torch.manual_seed(0)
    draws = [net(basis) for _ in range(20)]
    assert any(not torch.allclose(d, basis[:, 0]) for d in draws)
