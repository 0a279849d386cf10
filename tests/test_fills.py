"""What every fill owes everyone that hides pixels, over the whole table and a row from outside."""

import json

import pytest
import torch
from typer.testing import CliRunner

import oracles
import tiny
from saywhy.cli import app
from saywhy.cli.eval_request import conventions
from saywhy.errors import UsageError
from saywhy.intervene import FILLS, Fill, content_seed, experiment, filler, gaussian_blur, hide, play
from saywhy.lcam.losses import seen_image
from saywhy.metrics import METRICS
from saywhy.passes import counting
from saywhy.saliency import saliency


def stripes(images, keep, seed):
    """The rows of what is kept, shuffled by the seed: a fill that needs all that there is."""
    order = torch.randperm(images.shape[2], generator=torch.Generator().manual_seed(seed))
    return (images * keep)[:, :, order]


TOY = Fill(stripes, "rows of the picture, shuffled", needs=("kept", "seed"))
NAMES = [*FILLS, "stripes"]
every_fill = pytest.mark.parametrize("fill", NAMES)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(FILLS, "stripes", TOY)


def holes(count=3, height=32, width=32, soft=False):
    """Masks (count, H, W), the first of them whole."""
    g = torch.Generator().manual_seed(0)
    keep = torch.rand(count, 4, 4, generator=g)
    keep = torch.nn.functional.interpolate(keep[:, None], (height, width), mode="bilinear")[:, 0]
    keep = keep if soft else (keep > 0.5).float()
    keep[0] = 1
    return keep


@every_fill
def test_a_fill_leaves_what_is_kept_and_changes_what_is_hidden(fill):
    image, keep = tiny.images(1)[0], holes()
    shown = hide(image, keep, fill, seed=3)
    assert shown.shape == (3, 3, 32, 32) and shown.dtype == image.dtype
    assert float(shown.min()) >= -1e-6 and float(shown.max()) <= 1 + 1e-6
    assert torch.equal(shown[0], image)
    for got, kept in zip(shown[1:], keep[1:], strict=True):
        assert torch.equal(got[:, kept == 1], image[:, kept == 1])
        assert not torch.allclose(got[:, kept == 0], image[:, kept == 0], atol=1e-2)


@every_fill
def test_a_fill_is_the_same_alone_in_a_batch_and_for_one_image_or_many(fill):
    images, keep = tiny.images(3), holes(soft=True)
    together = hide(images, keep, fill, seed=1)
    alone = torch.cat([hide(images[i], keep[i : i + 1], fill, seed=1) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)
    many = hide(images[0], keep, fill, seed=1)
    assert torch.allclose(many, hide(images[:1].expand(3, -1, -1, -1), keep, fill, seed=1), atol=1e-6)


@every_fill
def test_a_fill_needs_what_its_row_says(fill):
    image, keep = tiny.images(1), holes()[1:]
    first, _ = (behind := filler(image, fill, 1)(torch.zeros(2, dtype=torch.long), keep).expand(2, 3, 32, 32))
    assert torch.equal(behind, filler(image, fill, 1)(torch.zeros(2, dtype=torch.long), keep).expand(2, 3, 32, 32))
    assert torch.equal(behind[0], behind[1]) == ("kept" not in FILLS[fill].needs)
    other = filler(image, fill, 2)(torch.zeros(2, dtype=torch.long), keep).expand(2, 3, 32, 32)
    assert torch.equal(other[0], first) == ("seed" not in FILLS[fill].needs)


@every_fill
def test_hiding_everything_is_served(fill):
    shown = hide(tiny.images(1)[0], torch.zeros(1, 32, 32), fill)
    assert torch.isfinite(shown).all() and float(shown.min()) >= 0 and float(shown.max()) <= 1


@pytest.mark.parametrize("size", [(32, 32), (21, 30)])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("fill", [n for n in NAMES if n != "stripes"])
def test_a_fill_equals_its_oracle(fill, soft, size):
    image, keep = tiny.images(1)[..., : size[0], : size[1]], holes(2, *size, soft=soft)
    for kept in (keep[1], torch.zeros(size)):
        got = filler(image, fill, 5)(torch.zeros(1, dtype=torch.long), kept[None])
        plain = oracles.FILLS[fill](image[0].double().numpy(), kept.double().numpy(), 5)
        assert torch.allclose(got[0].double(), torch.from_numpy(plain), atol=2e-5)


def test_every_fill_has_an_oracle():
    assert set(oracles.FILLS) == set(FILLS) - {"stripes"}


@every_fill
def test_a_fill_serves_the_game_the_experiments_and_the_masked_methods(fill):
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    regions = holes(3)[1:] == 0
    game = play(clf, x[0], regions, fills=(fill,), seed=2)
    hidden = clf.probabilities(hide(x[0], 1 - regions.any(0)[None].float(), fill, 2))[0]
    assert torch.allclose(game.probabilities[0, 0], hidden.double(), atol=1e-5)
    (run,) = experiment(clf, x[0], regions, [("hide", (0,))], ways=((fill, 3),))
    assert run.fill == fill and float(run.probabilities.sum()) == pytest.approx(1, abs=1e-5)
    small = {"rise": {"masks": 8, "cells": 4}, "occlusion": {"window": 12, "stride": 10}, "score-cam": {}}
    for method, options in small.items():
        got = saliency(clf, x, 1, method=method, fill=fill, **options).raw
        alone = saliency(clf, x[1:], 1, method=method, fill=fill, batch_size=3, **options).raw
        assert torch.isfinite(got).all() and torch.allclose(got[1:], alone, atol=1e-4 * float(got.abs().max()))


@every_fill
@pytest.mark.parametrize("name", ["ad50", "insertion", "deletion", "adcc"])
def test_a_fill_serves_the_metrics(fill, name):
    clf, x, maps = tiny.classifier(tiny.build("cnn")), tiny.images(3), holes(3, soft=True)
    maps[0, 0, 0] = 0

    def measure(of, **options):
        given = {"probabilities": clf.probabilities, "images": x[of], "maps": maps[of], "targets": None}
        given |= {"explain": lambda images, targets: images.mean(1)} if name == "adcc" else {}
        return METRICS[name].function(
            **given, fill=fill, **({} if name in ("ad50", "adcc") else {"steps": 4}), **options
        )

    got = measure(slice(None), seed=1)
    assert torch.isfinite(got).all()
    assert torch.allclose(got[1:], measure(slice(1, None), seed=1, batch_size=2), atol=1e-4)
    if name == "deletion":
        drawn = "seed" in FILLS[fill].needs
        assert torch.equal(measure(slice(None), seed=2), got) == (not drawn)


@every_fill
def test_a_fill_serves_the_training_of_heads_and_the_command_line(fill):
    x, keep = tiny.images(2), torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    seen = seen_image(x, keep, fill)
    seen.sum().backward()
    assert seen.shape == x.shape and float(keep.grad.abs().max()) > 0 and torch.isfinite(keep.grad).all()
    assert conventions(fill, "before", "relative", 4).fill == fill
    told = json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)
    assert {"name": fill, "summary": FILLS[fill].summary} in told["fills"]


def test_a_still_fill_is_made_once_for_all_masks(monkeypatch):
    made = []

    def grey(images, keep, seed):
        made.append(1)
        return images.new_full((1, 3, 1, 1), 0.5)

    clf, x, regions = tiny.classifier(tiny.build("cnn"), batch_size=2), tiny.images(1)[0], holes(4)[1:] == 0
    for needs, times in (((), 1), (("seed",), 1), (("kept",), 4)):
        made.clear()
        monkeypatch.setitem(FILLS, "grey", Fill(grey, "grey", needs=needs))
        with counting() as meter:
            play(clf, x, regions, fills=("grey",))
        assert len(made) == times and meter.forward_passes == 8


def test_a_colour_a_picture_or_a_row_of_ones_own_can_be_the_fill():
    image, keep = tiny.images(1)[0], torch.zeros(1, 32, 32)
    grey, other = torch.tensor([0.1, 0.2, 0.3]), tiny.images(1, seed=5)[0]
    assert torch.allclose(hide(image, keep, grey)[0], grey[:, None, None].expand(3, 32, 32))
    assert torch.allclose(hide(image, keep, other)[0], other)
    assert torch.equal(hide(image, holes(), TOY, 2), hide(image, holes(), "stripes", 2))
    with pytest.raises(UsageError, match="did you mean 'black'"):
        hide(image, keep, "blak")
    with pytest.raises(UsageError, match="does not fit"):
        hide(image, keep, torch.zeros(7))


def test_mean_is_of_what_stays_visible_and_image_mean_of_everything():
    image, keep = torch.zeros(3, 8, 8), torch.zeros(1, 8, 8)
    image[:, :, :4], keep[..., :4] = 0.8, 1
    assert torch.allclose(hide(image, keep, "mean")[0], torch.full((3, 8, 8), 0.8))
    assert torch.allclose(hide(image, keep, "image-mean")[0, :, :, 4:], torch.full((3, 8, 4), 0.4))


def test_a_blur_keeps_the_mean_and_a_constant():
    x = tiny.images(1)
    flat = torch.full((1, 3, 16, 16), 0.4)
    assert torch.allclose(gaussian_blur(flat, 3.0), flat, atol=1e-6)
    assert float(gaussian_blur(x, 3.0).std()) < float(x.std())


def test_a_seed_comes_from_the_photo_and_the_seed():
    a, b = tiny.images(2)
    assert content_seed(a, 0) == content_seed(a.clone(), 0)
    assert len({content_seed(a, 0), content_seed(b, 0), content_seed(a, 1)}) == 3
