import numpy as np
import pytest
import torch
from saywhy.regions.extract import attention_mask, find_regions, guided_filter
from scipy import ndimage

from saywhy.errors import UsageError


def scene(side: int = 96) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three coloured patches with channels of their own, the attention on them, and their masks."""
    masks = torch.zeros(3, side, side, dtype=torch.bool)
    masks[0, 10:45, 10:45] = True
    masks[1, 10:45, 50:85] = True
    masks[2, 52:88, 20:75] = True
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.2], [0.2, 0.2, 0.9]])
    image = torch.full((3, side, side), 0.6)
    for mask, colour in zip(masks, colours, strict=True):
        image[:, mask] = colour[:, None]
    maps = torch.nn.functional.interpolate(masks[None].float(), (12, 12), mode="area")[0]
    maps = torch.cat([maps, 0.1 * torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(0))])
    return image, maps, maps[:3].sum(0), masks


@pytest.mark.parametrize("with_maps", [True, False])
def test_planted_patches_are_found(with_maps: bool) -> None:
    image, maps, attention, masks = scene()
    found = find_regions(image, [maps] if with_maps else [], attention, count=3)
    for mask in masks:
        best = max(float((mask & f).sum() / (mask | f).sum()) for f in found)
        assert best > 0.75


def test_the_number_is_chosen_between_three_and_five_by_default() -> None:
    image, maps, attention, _ = scene()
    assert 3 <= len(find_regions(image, [maps], attention)) <= 5


@pytest.mark.parametrize("count", [None, 1, 2, 5, 6])
def test_regions_are_disjoint_and_not_empty(count: int | None) -> None:
    image, maps, attention, _ = scene()
    found = find_regions(image, [maps], attention, count=count)
    assert found.dtype == torch.bool
    assert found.shape[1:] == image.shape[1:]
    assert int(found.sum(0).max()) == 1
    assert bool(found.flatten(1).any(1).all())
    for region in found:
        assert ndimage.label(region.numpy())[1] <= 4, "a region is a few patches, not dust"


def test_the_same_seed_gives_the_same_regions() -> None:
    image, maps, attention, _ = scene()
    assert torch.equal(find_regions(image, [maps], attention, seed=3), find_regions(image, [maps], attention, seed=3))


@pytest.mark.parametrize("attention", [torch.zeros(7, 7), torch.full((7, 7), float("nan")), -torch.rand(7, 7)])
def test_without_attention_the_whole_image_is_searched(attention: torch.Tensor) -> None:
    image, maps, _, _ = scene()
    assert bool(attention_mask(attention).all())
    assert len(find_regions(image, [maps], attention)) >= 1


def test_the_attention_mask_is_the_threshold_of_the_patent() -> None:
    attention = torch.arange(16.0).reshape(4, 4)
    assert torch.equal(attention_mask(attention, keep=0.5), attention >= 7.5)
    assert torch.equal(attention_mask(attention, keep=0.5, relative=0.9), attention >= 13.5)


def test_a_one_coloured_image_still_gives_regions() -> None:
    found = find_regions(torch.full((3, 64, 64), 0.5), [torch.zeros(4, 7, 7)], torch.zeros(7, 7))
    assert len(found) >= 1


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (33, 47)])
def test_images_need_not_be_square(size: tuple[int, int]) -> None:
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    assert find_regions(image, [], torch.ones(5, 9)).shape[1:] == size


def test_seven_regions_are_too_many() -> None:
    image, maps, attention, _ = scene()
    with pytest.raises(UsageError, match="1 to 6"):
        find_regions(image, [maps], attention, count=7)


def test_the_guided_filter_is_the_papers() -> None:
    """He et al. 2013, equations 5 to 8, window by window."""
    rng = np.random.default_rng(0)
    guide, plane, r, eps = rng.random((9, 11)), rng.random((9, 11)), 2, 2e-3
    g, p = (np.pad(v, r, mode="edge") for v in (guide, plane))
    a, b = np.zeros((9, 11)), np.zeros((9, 11))
    for y in range(9):
        for x in range(11):
            wg, wp = g[y : y + 2 * r + 1, x : x + 2 * r + 1], p[y : y + 2 * r + 1, x : x + 2 * r + 1]
            a[y, x] = ((wg * wp).mean() - wg.mean() * wp.mean()) / (wg.var() + eps)
            b[y, x] = wp.mean() - a[y, x] * wg.mean()
    a, b = np.pad(a, r, mode="edge"), np.pad(b, r, mode="edge")
    expected = np.zeros((9, 11))
    for y in range(9):
        for x in range(11):
            window = (slice(y, y + 2 * r + 1), slice(x, x + 2 * r + 1))
            expected[y, x] = a[window].mean() * guide[y, x] + b[window].mean()
    got = guided_filter(torch.from_numpy(guide), torch.from_numpy(plane)[None], r, eps)[0]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-10)
