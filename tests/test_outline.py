"""Outlines follow their masks: areas, holes, edges, thin and empty masks, and where the numbers stand."""

from __future__ import annotations

import numpy as np
import pytest

from saywhy.image import Bools
from saywhy.render.layout import BADGE, apart
from saywhy.render.outline import area, chaikin, deepest_point, rings_of, svg_path, trace

VIEW = (640, 480)


def disc(x: float, y: float, r: float, size: tuple[int, int] = (480, 640)) -> Bools:
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]]
    return np.asarray((xs + 0.5 - x) ** 2 + (ys + 0.5 - y) ** 2 < r * r)


def test_ring_of_a_disc_has_its_area_and_its_centre() -> None:
    (ring,) = rings_of(disc(300, 200, 100), VIEW)
    assert abs(area(chaikin(ring, 3))) == pytest.approx(np.pi * 100**2, rel=0.01)
    assert ring.mean(axis=0) == pytest.approx([300, 200], abs=1)
    assert np.hypot(*(ring - [300, 200]).T) == pytest.approx(np.full(len(ring), 100), abs=1.5)


def test_ring_does_not_depend_on_the_size_of_the_photo() -> None:
    (small,) = rings_of(disc(75, 50, 25, (120, 160)), VIEW)
    (large,) = rings_of(disc(1500, 1000, 500, (2400, 3200)), VIEW)
    assert abs(area(small)) == pytest.approx(abs(area(large)), rel=0.03)


def test_hole_runs_the_other_way_round_and_parts_have_rings_of_their_own() -> None:
    outer, hole = rings_of(disc(300, 240, 150) & ~disc(300, 240, 60), VIEW)
    assert area(outer) * area(hole) < 0
    assert len(rings_of(disc(100, 100, 50) | disc(400, 300, 80), VIEW)) == 2


@pytest.mark.parametrize("seed", range(20))
def test_traced_rings_hold_exactly_the_area_of_what_they_trace(seed: int) -> None:
    # With values of 0 and 1 each crossing lies half-way, so every corner of a pixel costs one eighth.
    field = (np.random.default_rng(seed).random((12, 15)) > 0.5).astype(np.float32)
    padded = np.pad(field, 1)
    four = sum(np.roll(np.roll(padded, dy, 0), dx, 1) for dy in (0, 1) for dx in (0, 1))
    saddle = (padded == np.roll(np.roll(padded, 1, 0), 1, 1)) & (four == 2)
    expected = {0: 0, 1: 1 / 8, 2: 1 / 2, 3: 7 / 8, 4: 1}
    total = sum(expected[int(n)] for n in four.ravel()) - saddle.sum() * (1 / 2 - 2 / 8)
    assert abs(sum(area(ring) for ring in trace(field))) == pytest.approx(total)


def test_mask_of_the_whole_photo_is_outlined_at_its_edge() -> None:
    (ring,) = rings_of(np.ones((48, 64), dtype=bool), VIEW)
    assert ring.min(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert ring.max(axis=0) == pytest.approx([640, 480], abs=1e-6)


def test_thin_mask_is_still_outlined_and_an_empty_one_is_not() -> None:
    line = np.zeros((2000, 3000), dtype=bool)
    line[1000:1003, 200:2800] = True
    assert len(rings_of(line, VIEW)) >= 1
    assert rings_of(np.zeros((30, 40), dtype=bool), VIEW) == []
    assert deepest_point(np.zeros((30, 40), dtype=bool), VIEW) is None


def test_deepest_point_lies_inside_also_in_a_ring_shaped_mask() -> None:
    mask = disc(300, 240, 150) & ~disc(300, 240, 90)
    x, y = deepest_point(mask, VIEW) or (0, 0)
    assert mask[int(y), int(x)]


def test_numbers_are_moved_apart_and_kept_inside() -> None:
    places = apart([(2, 2), (2, 2), (5, 3), (630, 470)], VIEW)
    for i, a in enumerate(places):
        assert BADGE <= a[0] <= 640 - BADGE and BADGE <= a[1] <= 480 - BADGE
        for b in places[:i]:
            assert np.hypot(a[0] - b[0], a[1] - b[1]) > 2 * BADGE


def test_path_is_closed_and_starts_where_it_ends() -> None:
    path = svg_path(rings_of(disc(300, 200, 100), VIEW))
    assert path.startswith("M") and path.endswith("Z") and path.count("Q") > 50
