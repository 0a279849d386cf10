"""Keypoints are (x, y): across first, then down; on pictures that are not square a swap would show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from saywhy.collection import Item
from saywhy.evaluate.annotations import truth_of
from saywhy.image import Picture, Preprocess, frame
from saywhy.metrics.localisation import object_sizes, pck, pck_random, pointing


def hot(x: int, y: int, size: tuple[int, int] = (20, 40)) -> torch.Tensor:
    maps = torch.zeros(1, *size)
    maps[0, y, x] = 1
    return maps


def test_a_keypoint_is_hit_where_x_runs_across_and_y_runs_down() -> None:
    point, sizes = torch.tensor([[30.5, 5.5]]), torch.tensor([10.0])
    assert pck(hot(30, 5), point, sizes).item() == 1
    assert pck(hot(5, 15), point, sizes).item() == 0
    assert pck(hot(30, 15), point, sizes).item() == pck(hot(12, 5), point, sizes).item() == 0
    assert pck(hot(5, 15), torch.tensor([[15.5, 5.5]]), sizes).item() == 0, "x and y are not each other"
    # Just inside and just outside the reach of alpha times the size, either way.
    for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        assert pck(hot(30 + dx, 5 + dy), point, sizes, alpha=0.1).item() == 1
        assert pck(hot(30 + 2 * dx, 5 + 2 * dy), point, sizes, alpha=0.1).item() == 0


def test_the_random_baseline_counts_in_the_objects_own_box() -> None:
    box = torch.tensor([[20.0, 2.0, 40.0, 6.0]])  # wide and low: a point in its middle is near a tenth of its cells
    inside = pck_random(torch.tensor([[30.0, 4.0]]), box, (20, 40), alpha=0.1).item()
    cells = [(x, y) for x in range(20, 40) for y in range(2, 6)]
    near = [np.hypot(x + 0.5 - 30, y + 0.5 - 4) <= 2 for x, y in cells]
    assert inside == pytest.approx(np.mean(near))
    assert pck_random(torch.tensor([[4.0, 30.0]]), box, (20, 40), alpha=0.1).item() == 0


def test_the_size_of_an_object_is_its_longer_side() -> None:
    assert object_sizes(torch.tensor([[0.0, 0.0, 10.0, 4.0], [0.0, 2.0, 3.0, 9.0]])).tolist() == [10, 7]


def test_pointing_counts_a_hit_within_the_tolerance_across_and_down() -> None:
    mask = torch.zeros(1, 20, 40, dtype=torch.bool)
    mask[0, 5, 30] = True
    for x, y, tolerance, hit in (
        (30, 5, 0, 1),
        (33, 5, 3, 1),
        (34, 5, 3, 0),
        (30, 8, 3, 1),
        (30, 9, 3, 0),
        (5, 15, 3, 0),
    ):
        assert pointing(hot(x, y), mask, tolerance=tolerance).item() == hit


@pytest.mark.parametrize(("size", "resize"), [((24, 48), None), ((32, 32), 40)])
def test_a_keypoint_stays_on_its_spot_when_the_photo_is_cropped_and_scaled(
    size: tuple[int, int], resize: int | None
) -> None:
    pixels = np.zeros((60, 100, 3), dtype=np.uint8)
    x, y = 62, 22
    pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
    how = Preprocess(size=size, resize=resize, mean=(0, 0, 0), std=(1, 1, 1))
    picture = Picture(pixels, None, "")
    image, box = frame(picture, how)
    item = Item(
        Path("photo.png"), truth={"keypoints": {"spot": [x + 0.5, y + 0.5]}, "boxes": [{"xywh": [50, 10, 30, 20]}]}
    )
    truth = truth_of([item], [picture], [box], how)
    bright = image[0]
    v, u = np.unravel_index(int(np.argmax(bright)), bright.shape)
    assert truth.keypoints[0].tolist() == pytest.approx([u + 0.5, v + 0.5], abs=0.8)
    marked = truth.masks[0]
    assert marked[int(v), int(u)] and not marked[0, 0]
    scale = (size[1] / (box[2] - box[0]), size[0] / (box[3] - box[1]))
    assert float(truth.sizes[0]) == pytest.approx(max(30 * scale[0], 20 * scale[1]))


def test_a_keypoint_outside_the_crop_is_missing() -> None:
    picture = Picture(np.zeros((60, 100, 3), dtype=np.uint8), None, "")
    how = Preprocess(size=(32, 32), resize=32, mean=(0, 0, 0), std=(1, 1, 1))
    _, box = frame(picture, how)
    for x, y, inside in ((50, 30, True), (5, 30, False), (95, 30, False), (21, 3, True)):
        item = Item(Path("photo.png"), truth={"keypoints": {"spot": [x, y]}})
        assert bool(truth_of([item], [picture], [box], how).keypoints.isfinite().all()) is inside
