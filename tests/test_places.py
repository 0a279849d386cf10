"""Places of nouns, learned from the colours that captions give them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import oracles
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.places import (
    RECIPE,
    Places,
    Tellings,
    coloured,
    learn_places,
    of_colour,
    palette,
    smooth,
    spoken,
    squeeze,
)
from saywhy.errors import UsageError

GRID, COLOURS, NOUNS = (6, 6), 4, 3
N, S = 120, 36


def planted(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures with three things, each in cells of its own filter: cells, colours, counts, and where the things are.

    Each thing has a colour of its own in each picture, which captions say; the ground has colours that they don't.
    """
    g = torch.Generator().manual_seed(seed)
    cells = 0.3 * torch.randn(N, S, 6, generator=g)
    colours = torch.randint(COLOURS, (N, S), generator=g)
    counts = torch.zeros(N, NOUNS, COLOURS)
    where = torch.stack([torch.randperm(S, generator=g)[:NOUNS] for _ in range(N)])
    own = torch.randint(COLOURS, (N, NOUNS), generator=g)
    for i in range(N):
        for m in range(NOUNS):
            cells[i, where[i, m], m] += 3
            colours[i, where[i, m]] = own[i, m]
            counts[i, m, own[i, m]] = 2
    return cells, torch.nn.functional.one_hot(colours, COLOURS).float(), counts, where


def found(places: Places, cells: Tensor, inside: Tensor, where: Tensor) -> float:
    return float((places.shares(cells, inside).argmax(-1) == where).float().mean())


INSIDE = torch.ones(N, S, dtype=torch.bool)


def test_a_thing_is_found_where_its_colours_are_said() -> None:
    """In pictures that were not learned from; and nowhere if captions are of other pictures."""
    cells, colours, counts, _ = planted()
    new, new_colours, new_counts, new_where = planted(1)
    places = learn_places(cells, colours, INSIDE, counts, GRID)
    other = learn_places(
        cells, colours, INSIDE, counts[torch.randperm(N, generator=torch.Generator().manual_seed(5))], GRID
    )
    assert found(places, new, INSIDE, new_where) > 0.9
    assert found(other, new, INSIDE, new_where) < 0.5
    told = places.surprise(new, new_colours, INSIDE, new_counts)
    assert told < 0.5 * math.log(COLOURS) < other.surprise(new, new_colours, INSIDE, new_counts)


def test_a_thing_begins_at_the_cells_that_look_alike_and_have_its_colours() -> None:
    cells, colours, counts, where = planted()
    begun = learn_places(cells, colours, INSIDE, counts, GRID, replace(RECIPE, steps=0))
    assert found(begun, cells, INSIDE, where) > 0.6


def test_places_are_compact() -> None:
    """Of two kinds of cells that have the thing's colour and can be told apart, a place takes rather one than both."""
    cells, colours, counts, where = planted()
    far = (where + S // 2) % S
    for i in range(N):
        for m in range(NOUNS):
            cells[i, far[i, m]], colours[i, far[i, m]] = cells[i, where[i, m]], colours[i, where[i, m]]
            cells[i, far[i, m], NOUNS + m] += 3

    def spread(compact: float) -> float:
        shares = learn_places(cells, colours, INSIDE, counts, GRID, replace(RECIPE, compact=compact)).shares(
            cells, INSIDE
        )
        rows = torch.arange(S) // GRID[1] / GRID[0]
        return float((shares @ rows**2 - (shares @ rows) ** 2).mean())

    assert spread(RECIPE.compact) < 0.8 * spread(0.0)


def test_same_seed_same_places() -> None:
    cells, colours, counts, _ = planted()
    a, b = (learn_places(cells, colours, INSIDE, counts, GRID) for _ in range(2))
    assert torch.equal(a.weights, b.weights) and torch.equal(a.naming, b.naming) and torch.equal(a.usual, b.usual)


def test_what_is_outside_of_the_photo_is_no_place() -> None:
    cells, colours, counts, _ = planted()
    inside = INSIDE.clone()
    inside[:, : S // 2] = False
    shares = learn_places(cells, colours, inside, counts, GRID).shares(cells, inside)
    assert not shares[..., : S // 2].any()
    assert torch.allclose(shares.sum(-1), torch.ones(N, NOUNS))


def test_surprise_is_that_of_the_plain_sum() -> None:
    g = torch.Generator().manual_seed(3)
    cells, colours = torch.randn(4, S, 5, generator=g), torch.rand(4, S, COLOURS, generator=g)
    counts = torch.randint(3, (4, NOUNS, 2), generator=g).float()
    places = Places(*(torch.randn(*shape, generator=g) for shape in ((NOUNS, 5), (2, COLOURS), (NOUNS, 2))))
    inside = torch.rand(4, S, generator=g) > 0.3
    expected = oracles.surprise_of_places(
        *(x.tolist() for x in (cells, colours, inside, counts, places.weights, places.naming, places.usual))
    )
    assert places.surprise(cells, colours, inside, counts) == pytest.approx(expected, rel=1e-5)


def test_filters_are_squeezed_to_numbers_of_one_size() -> None:
    g = torch.Generator().manual_seed(0)
    mixing = torch.randn(7, 7, generator=g)
    layers = [torch.randn(20, S, 7, generator=g) @ mixing + 4, 100 * torch.randn(20, S, 3, generator=g)]
    inside = torch.rand(20, S, generator=g) > 0.2
    short = squeeze(layers, inside, 5)(torch.cat(layers, -1))[inside]
    assert short.shape[1] == 5 + 3
    assert torch.allclose(short.mean(0), torch.zeros(8), atol=1e-3)
    for own in (short[:, :5], short[:, 5:]):  # two layers, each of half the variance
        assert torch.allclose(own.T @ own / len(own), torch.eye(own.shape[1]) / 2, atol=0.01)


def test_cells_are_of_the_palettes_colours() -> None:
    """Half red, half blue: two colours, each cell of one of them; one of both where both are in a cell."""
    image = torch.zeros(1, 3, 32, 32)
    image[:, 0, :, :16], image[:, 2, :, 16:] = 1, 1
    colours = palette(image, 5)
    assert len(colours) == 2
    shares = coloured(image, colours, (4, 4)).reshape(4, 4, 2)
    assert torch.allclose(shares.sum(-1), torch.ones(4, 4))
    left = int(shares[0, 0].argmax())
    assert (shares[:, :2, left] > 0.99).all() and (shares[:, 2:, left] < 0.01).all()
    assert coloured(image, colours, (1, 1))[0, 0].tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_colours_of_nouns_are_counted() -> None:
    said = [
        {Attribute("beak", "orange"): 2, Attribute("bill", "red"): 1, Attribute("wing", "long"): 3},
        {Attribute("wing", "red"): 1, Attribute("bill", "orange"): 4},
        {Attribute("wing", "orange"): 1, Attribute("eye", "red"): 1},
    ]
    table: Tellings = spoken(said, {"bill": "beak"}, fewest=2)
    assert table.nouns == ("beak", "wing") and table.adjectives == ("orange", "red")
    assert table.counts.tolist() == [[[2, 1], [0, 0]], [[4, 0], [0, 1]], [[0, 0], [1, 0]]]


@pytest.mark.parametrize("said", [[], [{}], [{Attribute("beak", "red"): 1}], [{Attribute("beak", "long"): 1}] * 30])
def test_too_few_colours_are_refused(said: list[dict[Attribute, int]]) -> None:
    with pytest.raises(UsageError, match="give more pictures with captions"):
        spoken(said)


def test_no_captions_no_places() -> None:
    cells, colours, counts, _ = planted()
    with pytest.raises(UsageError, match="no caption"):
        learn_places(cells, colours, INSIDE, 0 * counts, GRID)


def test_smoothing_moves_the_most_to_the_middle() -> None:
    shares = torch.zeros(1, 9, 9)
    shares[0, 2:5, 2:5], shares[0, 8, 8] = 0.1, 0.11
    blurred = smooth(shares.reshape(1, 81), (9, 9)).reshape(9, 9)
    assert int(blurred.argmax()) == 3 * 9 + 3
    inner = torch.zeros(1, 81)
    inner[0, 40] = 1
    assert float(smooth(inner, (9, 9)).sum()) == pytest.approx(1, abs=1e-5)


def test_an_attribute_is_where_its_noun_has_its_colour() -> None:
    """Of a beak that is half orange: "orange beak" is on that half, and still on no other thing that is orange."""
    naming = torch.tensor([[4.0, -4.0], [-4.0, 4.0]])
    places = Places(torch.zeros(1, 1), naming, torch.zeros(1, 2))
    shares = torch.tensor([[0.5, 0.5, 0.0]])
    colours = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    for adjective, cell in ((0, 0), (1, 1)):
        own = of_colour(shares, colours, places, adjective)
        assert int(own.argmax()) == cell and float(own.sum()) == pytest.approx(1) and own[0, 2] == 0
