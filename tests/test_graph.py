import numpy as np
import pytest

from saywhy.graph.build import region_graph, spatial_relation


def square(y: int, x: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((100, 100), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        (square(40, 10), square(40, 70), "left of"),
        (square(40, 70), square(45, 10), "right of"),
        (square(5, 40), square(80, 45), "above"),
        (square(80, 40), square(5, 40), "below"),
        (square(40, 40), square(41, 40), "at"),
    ],
)
def test_relations_hold_in_coordinates(one: np.ndarray, other: np.ndarray, word: str) -> None:
    assert spatial_relation(one, other)[0] == word


def test_the_distance_is_in_diagonals_and_the_same_both_ways() -> None:
    a, b = square(0, 0), square(90, 90)
    assert spatial_relation(a, b)[1] == pytest.approx(0.9)
    assert spatial_relation(a, b)[1] == spatial_relation(b, a)[1]


def test_every_pair_is_one_edge_from_the_lower_number_to_the_higher() -> None:
    masks = [square(0, 0), square(0, 80), square(80, 0)]
    places = [tuple(spatial_relation(a, b) for b in masks) for a in masks]
    pairs = np.array([[0, 0.1, -0.2], [0.1, 0, 0.3], [-0.2, 0.3, 0]])
    graph = region_graph(7, ["1", "2", "3"], places, pairs, None, {"x": 0.0})
    assert [(e.id, e.relation, e.contribution, e.contrast) for e in graph.edges] == [
        ("1-2", "left of", 0.1, None),
        ("1-3", "above", -0.2, None),
        ("2-3", "right of", 0.3, None),
    ]
    assert graph.class_index == 7
    assert graph.nodes == ("1", "2", "3")


def test_moving_a_region_changes_only_its_edges() -> None:
    masks = [square(0, 0), square(0, 80), square(80, 0)]
    moved = [square(0, 0), square(0, 80), square(80, 60)]
    zero = np.zeros((3, 3))

    def edges(of: list[np.ndarray]) -> dict[str, object]:
        places = [tuple(spatial_relation(a, b) for b in of) for a in of]
        return {e.id: e for e in region_graph(0, ["1", "2", "3"], places, zero, None, {}).edges}

    before, after = edges(masks), edges(moved)
    assert {k for k in before if before[k] != after[k]} == {"1-3", "2-3"}


@pytest.mark.parametrize("turn", range(4))
def test_the_larger_offset_decides_the_word_and_a_tie_goes_sideways(turn: int) -> None:
    words = ["right of", "above", "left of", "below"]
    one, side, tie = square(40, 60), square(45, 20), square(60, 40)
    got = [spatial_relation(*(np.rot90(m, turn) for m in (one, other)))[0] for other in (side, tie)]
    assert got == [words[turn], "right of" if turn in (0, 3) else "left of"]


def test_regions_are_at_one_place_below_two_percent_of_the_diagonal() -> None:
    # Of a picture of 100 x 100, where two percent are 2.83 pixels.
    assert [spatial_relation(square(40, 40), square(40, 40 + d))[0] for d in (0, 2, 3)] == ["at", "at", "left of"]


def test_edges_carry_contrast_distance_and_which_are_confirmed() -> None:
    masks = [square(0, 0), square(0, 80), square(80, 0)]
    places = [tuple(spatial_relation(a, b) for b in masks) for a in masks]
    pairs, contrasts = np.arange(9.0).reshape(3, 3), -np.arange(9.0).reshape(3, 3)
    edges = region_graph(0, ["a", "b", "c"], places, pairs, contrasts, {}, frozenset({"a-c"})).edges
    assert [(e.id, e.source, e.target) for e in edges] == [("a-b", "a", "b"), ("a-c", "a", "c"), ("b-c", "b", "c")]
    assert [e.contrast for e in edges] == [-1, -2, -5] and [e.contribution for e in edges] == [1, 2, 5]
    assert [e.confirmed for e in edges] == [False, True, False]
    assert [e.distance for e in edges] == pytest.approx([80 / 2**0.5 / 100] * 2 + [0.8])
