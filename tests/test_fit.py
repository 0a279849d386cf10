"""Fitting a head: what it learns, what it leaves alone, how it stops, and what bad photos do to it."""

import copy
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import tiny
from saywhy import Explainer, cli
from saywhy.collection import Item, find_images
from saywhy.errors import InputError, UsageError
from saywhy.lcam import crops, equal_area, responses
from saywhy.lcam import fitting as training
from saywhy.lcam import photos as photos_of
from saywhy.lcam.fitting import RECIPES, Recipe, fit_lcam
from saywhy.passes import counting
from saywhy.saliency import saliency
from saywhy.train.checkpoint import unfinished
from saywhy.train.distributed import joined
from saywhy.train.loop import Config
from test_loop import threads

SMALL = Recipe("small", Config(epochs=2, batch_size=4, lr=0.02, schedule="constant"), rank=2)


@pytest.fixture
def photos(tmp_path):
    """A folder with ten smooth photos of 40 x 40."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(10):
        pixels = (tiny.images(1, seed=n, side=40)[0] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{n}.png")
    return folder


@pytest.fixture
def clf():
    return tiny.classifier(tiny.build("cnn"))


def state(outcome):
    return outcome.lcam.head.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("change", [{}, {"kind": "fm"}, {"form": "rows"}, {"mode": "cross"}, {"fine": True},
                                    {"fill": "blur"}, {"thresholded": True}])  # fmt: skip
def test_every_kind_of_head_learns_and_leaves_the_classifier_alone(change, photos, clf):
    net = clf.net.train()
    before = copy.deepcopy(net.state_dict())
    got = fit_lcam(clf, find_images(photos), replace(SMALL, **change))
    start = training.untrained(
        clf, photos_of.read_photos(clf, find_images(photos), crop=True)[0], replace(SMALL, **change)
    )
    assert not same(state(got), start.head.state_dict())
    assert same(net.state_dict(), before) and net.training and net.norm.training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    maps = saliency(clf, tiny.images(2), 3, method="l-cam", head=got.lcam)
    assert maps.status == ("ok", "ok") and got.fitted.stopped == "epochs"
    assert set(got.fitted.history[0]) >= {"loss", "ce", "av", "tv", "held_out"}


REFINED = replace(SMALL, kind="answers", form="refined", fine=True, crop=False, masks=12)


def test_a_refined_head_learns_to_foretell_answers_to_masks(photos, clf):
    before = copy.deepcopy(clf.net.state_dict())
    recipe = replace(REFINED, config=replace(REFINED.config, epochs=30, batch_size=8))
    with counting() as meter:
        got = fit_lcam(clf, find_images(photos), recipe)
    assert meter.forward_passes == 10 + 10 + 10 * (1 + 12)  # read, start, ask
    history = got.fitted.history
    assert history[-1]["loss"] < history[0]["loss"] and same(clf.net.state_dict(), before)
    assert saliency(clf, tiny.images(1), 1, method="l-cam", head=got.lcam).raw.shape == (1, 16, 16)
    assert same(state(got), state(fit_lcam(clf, find_images(photos), recipe)))


def test_a_refined_head_goes_on_with_masks_of_one_area_and_resumes_there(photos, clf, tmp_path, monkeypatch):
    monkeypatch.setattr(crops, "SURE", 0.0)
    later = replace(REFINED.config, epochs=4, batch_size=4, lr=1e-2)
    recipe, items, file = replace(REFINED, then=later, crops=1), find_images(photos), tmp_path / "run.safetensors"
    whole = fit_lcam(clf, items, recipe)
    stages = [*whole.lcam.card["training_before"], whole.lcam.card["training"]]
    assert {"lost", "left"} <= set(whole.fitted.history[0]) and [s["network"] for s in stages] == [0, 0, 1, 1, 2, 2]
    assert [s["steps"] for s in stages] == [2 * 2, 4 * 4] * 3  # 8 photos are trained on, and then a crop of each
    first = fit_lcam(clf, items, replace(recipe, then=replace(later, epochs=4)), checkpoint=file)
    assert len(unfinished(file)) == 6 and same(state(first), state(whole))
    unfinished(file)[-1].unlink()
    assert same(state(fit_lcam(clf, items, recipe, checkpoint=file)), state(whole))
    assert not same(state(fit_lcam(clf, items, replace(recipe, crops=0))), state(whole))
    assert not same(state(fit_lcam(clf, items, REFINED)), state(whole))


def test_soft_ranks_are_shares_that_know_the_order_alone():
    L = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    got = equal_area.soft_ranks(L)
    assert torch.allclose(got, equal_area.soft_ranks(7 * L - 3), atol=1e-5)
    assert torch.allclose(got.mean((1, 2)), torch.full((2,), 0.5), atol=1e-5)
    assert torch.equal(got.flatten(1).argsort(1), L.flatten(1).argsort(1))
    cut = equal_area.top(got, torch.tensor([0.25, 0.5]))
    assert cut.mean((1, 2)).tolist() == pytest.approx([0.25, 0.5], abs=0.06)


def test_heads_of_two_seeds_share_no_network(photos, clf):
    heads = [state(fit_lcam(clf, find_images(photos), REFINED, seed=seed)) for seed in (0, 1)]
    nets = [head[f"mixers.{n}.mix.weight"] for head in heads for n in range(3)]
    assert not any(torch.equal(a, b) for i, a in enumerate(nets) for b in nets[:i])


def test_the_loss_of_equal_areas_is_what_the_shown_and_the_hidden_part_do_to_the_probability(clf):
    head = training.untrained(clf, FewPhotos(tiny.images(4)), REFINED)
    x = tiny.images(4)
    said = responses.ask(clf, head, x, 2)
    got = equal_area.equal_area_step(clf, head.head.member(0))(seen_whole(clf, x, said)[torch.arange(4)])
    ranks = equal_area.soft_ranks(head.head.refine(said.basis).detach())
    lost, left = 0.0, 0.0
    for n in range(4):
        y, p = int(said.predicted[n]), float(clf.probabilities(x[n : n + 1])[0, said.predicted[n]])
        shares = equal_area.SHOWN[n // 2], equal_area.HIDDEN[n // 2]
        shown, gone = (torch.sigmoid((ranks[n] - (1 - s)) / equal_area.EDGE) for s in shares)
        shown = shown * ranks[n] if n % 2 == 0 else shown
        for keep, sign in ((shown, 1), (1 - gone, 0)):
            up = torch.nn.functional.interpolate(keep[None, None], x.shape[2:], mode="bilinear")
            q = min(1.0, float(clf.probabilities(x[n : n + 1] * up)[0, y]) / p)
            lost, left = (lost + 1 - q, left) if sign else (lost, left + q)
    assert float(got["lost"].detach()) == pytest.approx(lost / 4, abs=1e-4)
    assert float(got["left"].detach()) == pytest.approx(left / 4, abs=1e-4)


def seen_whole(clf, x, said):
    return crops.Crops(clf, FewPhotos(x), crops.whole_photos(clf, said, torch.arange(len(x))))


def test_what_is_known_of_a_crop_is_what_looking_at_it_says(clf, monkeypatch):
    monkeypatch.setattr(crops, "SURE", 0.0)
    x, rows = tiny.images(4), torch.tensor([2, 0])
    head = training.untrained(clf, FewPhotos(x), REFINED)
    known = crops.from_closer(clf, head, FewPhotos(x), rows, 3, seed=5)
    assert known.photo.tolist() == [2, 2, 2, 0, 0, 0]
    alone = crops.from_closer(clf, head, FewPhotos(x), rows[1:], 3, seed=5)
    assert torch.equal(alone.box, known.box[3:])
    assert not torch.equal(crops.from_closer(clf, head, FewPhotos(x), rows, 3, seed=6).box, known.box)
    seen = crops.Crops(clf, FewPhotos(x), known)
    for n in range(len(seen)):
        one = seen[torch.tensor([n])]
        left, top, w, h = known.box[n].tolist()
        box = (left, top, left + w, top + h)
        assert left >= 0 and top >= 0 and box[2] <= x.shape[3] and box[3] <= x.shape[2]
        assert all(crops.SIDES[0] - 0.05 <= side / 32 <= 1 for side in (w, h))
        pixels = Image.fromarray((x[known.photo[n]] * 255).round().byte().permute(1, 2, 0).numpy())
        slow = np.asarray(pixels.resize((x.shape[3], x.shape[2]), Image.Resampling.BICUBIC, box=box), np.float32) / 255
        assert float((one.images[0].permute(1, 2, 0) - torch.from_numpy(slow)).abs().max()) < 0.02
        p = clf.probabilities(one.images)[0]
        assert int(one.predicted) == int(p.argmax())
        assert float(one.whole.exp()) == pytest.approx(float(p.max()), abs=1e-5)
        again = responses.ask(clf, head, one.images, 1)
        assert torch.allclose(again.basis, one.basis, atol=1e-4)


def test_crops_of_which_the_classifier_is_not_sure_are_left_out(clf, monkeypatch):
    x = tiny.images(4)
    head = training.untrained(clf, FewPhotos(x), REFINED)
    monkeypatch.setattr(crops, "SURE", 0.0)
    every = crops.from_closer(clf, head, FewPhotos(x), torch.arange(4), 4)
    limit = float(every.whole.exp().median())
    monkeypatch.setattr(crops, "SURE", limit)
    some = crops.from_closer(clf, head, FewPhotos(x), torch.arange(4), 4)
    assert some.whole.tolist() == [w for w in every.whole.tolist() if math.exp(w) >= limit - 1e-7]


class FewPhotos:
    """Pictures as `Photos` gives them."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        return self.x[rows]


def test_answers_are_those_of_the_masked_photos_and_do_not_depend_on_the_batch(photos, clf):
    x = tiny.images(2)
    head = training.untrained(clf, photos_of.read_photos(clf, find_images(photos), crop=False)[0], REFINED)
    got = responses.ask(clf, head, x, 9, seed=1)
    alone = responses.ask(clf, head, x[1:], 9, seed=1)
    assert torch.equal(got.masks[1:], alone.masks) and torch.allclose(got.answers[1:], alone.answers, atol=1e-5)
    n = int((~got.blurred[0]).nonzero()[0])
    keep = torch.nn.functional.interpolate(got.masks[0, n][None, None].float(), (32, 32), mode="bilinear")[0]
    y = int(clf.logits(x[:1]).argmax())
    expected = clf.logits(x[:1] * keep).log_softmax(1)[0, y]
    assert float(got.answers[0, n]) == pytest.approx(float(expected), abs=1e-5)
    shares = got.masks.float().mean((2, 3))
    assert float(shares.min()) >= 0.07 and float(shares.max()) <= 0.93


def test_a_map_that_foretells_the_answers_correlates_with_them_whatever_share_and_fill_do():
    g = torch.Generator().manual_seed(0)
    masks, blurred = torch.rand(1, 60, 4, 4, generator=g) < 0.5, torch.rand(1, 60, generator=g) < 0.5
    L = torch.randn(1, 4, 4, generator=g)
    share = masks.float().mean((2, 3))
    said = 1e-3 * torch.einsum("nmhw,nhw->nm", masks.float(), L) - 1 + 0.2 * share + 0.1 * blurred
    basis = torch.zeros(1, 1, 4, 4)
    batch = responses.Answers(masks, blurred, said, torch.zeros(1, dtype=torch.long), torch.zeros(1), basis)
    assert float(responses.correlations(L, batch)) > 0.99
    assert float(responses.correlations(-L, batch)) < -0.99
    assert float(responses.correlations(L * 5 + 3, batch)) > 0.99  # neither scale nor offset of a map matters


def test_training_lowers_the_loss(photos, clf):
    recipe = replace(SMALL, crop=False, config=replace(SMALL.config, epochs=15))
    history = fit_lcam(clf, find_images(photos), recipe).fitted.history
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_vision_transformer_is_fitted_on_its_grid_of_tokens(photos):
    clf = tiny.classifier(tiny.build("vit"))
    for kind in ("img", "fm"):
        got = fit_lcam(clf, find_images(photos), replace(SMALL, kind=kind))
        assert saliency(clf, tiny.images(1), 1, method="l-cam", head=got.lcam).raw.shape == (1, 4, 4)


def test_the_same_seed_gives_the_same_head_and_another_seed_another(photos, clf):
    first, again, other = (fit_lcam(clf, find_images(photos), SMALL, seed=s) for s in (3, 3, 4))
    assert same(state(first), state(again)) and not same(state(first), state(other))


def test_an_interrupted_run_goes_on_to_the_same_head(photos, clf, tmp_path):
    whole = fit_lcam(clf, find_images(photos), SMALL)

    def stop(epoch, row):
        raise KeyboardInterrupt

    file = tmp_path / "c.safetensors"
    recipe = replace(SMALL, config=replace(SMALL.config, checkpoint_every=1))
    with pytest.raises(KeyboardInterrupt):
        fit_lcam(clf, find_images(photos), recipe, checkpoint=file, told=stop)
    assert file.exists()
    assert same(state(fit_lcam(clf, find_images(photos), recipe, checkpoint=file)), state(whole))


def test_a_head_can_start_from_another(photos, clf):
    first = fit_lcam(clf, find_images(photos), SMALL)
    still = replace(SMALL, config=replace(SMALL.config, epochs=1, lr=1e-12, weight_decay=0.0))
    second = fit_lcam(clf, find_images(photos), still, init=first.lcam)
    assert all(torch.allclose(v, state(first)[k], atol=1e-6) for k, v in state(second).items())


def test_the_card_says_what_the_head_was_made_of(photos, clf):
    items = [replace(i, class_name="class 99") for i in find_images(photos)]
    card = fit_lcam(clf, items, SMALL).lcam.card
    assert card["kind"] == "l-cam-img" and card["pictures"] == 10
    assert card["given_labels_that_agree"] == 0.0  # wrong labels change nothing: the classifier's own are used
    assert card["classes_with_few_pictures"]["count"] + card["classes_seen"] >= tiny.CLASSES
    assert json.dumps(card)
    plain = fit_lcam(clf, find_images(photos), SMALL)
    assert same(state(fit_lcam(clf, items, SMALL)), state(plain))


@pytest.mark.parametrize("count", [1, 2])
def test_one_photo_is_enough_to_go_on_and_the_card_says_that_nothing_was_held_out(count, photos, clf):
    got = fit_lcam(clf, find_images(photos)[:count], SMALL)
    assert got.lcam.card["held_out"] == 0 and got.lcam.card["pictures"] == count


def test_unreadable_files_are_named_and_the_rest_is_fitted(photos, clf):
    (photos / "broken.png").write_bytes(b"no picture")
    got = fit_lcam(clf, [*find_images(photos), Item(photos / "missing.png")], SMALL)
    assert got.lcam.card["pictures"] == 10 and got.lcam.card["unreadable"] == 2
    assert [path.endswith(name) for (path, _), name in zip(got.failures, ("broken.png", "missing.png"), strict=True)]
    with pytest.raises(InputError, match="none of 1"):
        fit_lcam(clf, [Item(photos / "broken.png")], SMALL)


def test_a_loss_that_is_not_a_number_stops_with_the_last_good_weights(photos, clf, monkeypatch):
    good, calls = training.losses, []

    def bad(*args):
        calls.append(1)
        return {k: v * (float("nan") if len(calls) > 2 else 1) for k, v in good(*args).items()}

    monkeypatch.setattr(training, "losses", bad)
    got = fit_lcam(clf, find_images(photos), SMALL)
    assert got.broke_off and "nan" in got.fitted.stopped
    assert all(torch.isfinite(v).all() for v in state(got).values())


def test_what_does_not_fit_is_refused_before_anything_is_read(clf):
    for change, word in (
        ({"kind": "both"}, "img"),
        ({"form": "refined"}, "answers"),
        ({"mode": "all"}, "own"),
        ({"kind": "fm", "fill": "blur"}, "fm"),
    ):
        with pytest.raises(UsageError, match=word):
            fit_lcam(clf, [Item("nowhere.png")], replace(SMALL, **change))
    with pytest.raises(UsageError, match="fast"):
        fit_lcam(clf, [], "fats")
    black = tiny.classifier(tiny.build("cnn"))
    black = type(black)(lambda x: black.net(x).detach(), preprocess=black.preprocess)
    with pytest.raises(UsageError, match="rise"):
        fit_lcam(black, [Item("nowhere.png")], SMALL)


def test_the_published_recipe_is_the_papers():
    recipe = RECIPES["paper"]
    c = recipe.coefficients
    assert (c.ce, c.av, c.tv, c.power, c.eps, recipe.form, recipe.kind) == (1.5, 2.0, 0.01, 0.3, 5e-4, "rows", "img")
    config = recipe.config
    assert (config.optimiser, config.batch_size, config.lr, config.weight_decay) == ("sgd", 64, 1e-4, 5e-4)
    rate = training.fit.__globals__["SCHEDULES"][config.schedule]
    assert [rate((e + 0.5) / 7) for e in range(7)] == pytest.approx([0.75**e for e in range(7)])


# --------------------------------------------------------------------------------------------------
# Half precision, several processes.


@pytest.mark.parametrize(
    "recipe", [SMALL, replace(SMALL, kind="fm", thresholded=True), REFINED, replace(REFINED, then=REFINED.config)]
)
def test_bfloat16_fits_much_the_same_head(recipe, photos, clf):
    then = recipe.then and replace(recipe.then, amp=True)
    half = replace(recipe, config=replace(recipe.config, amp=True), then=then)
    whole, less = (fit_lcam(clf, find_images(photos), r).fitted.history for r in (recipe, half))
    assert [row["loss"] for row in less] == pytest.approx([row["loss"] for row in whole], rel=0.05)
    assert less != whole


STILL = replace(SMALL, crop=False, config=Config(epochs=4, batch_size=5, lr=0.05, optimiser="sgd", schedule="constant"))


def fit_still(folder, checkpoint):
    """Heads from a recipe that draws nothing at random, and from one that does."""
    clf, cropped = tiny.classifier(tiny.build("cnn")), training.cropped
    training.cropped = training.centred  # no mirroring
    try:
        still = fit_lcam(clf, find_images(folder), STILL, checkpoint=checkpoint)
    finally:
        training.cropped = cropped
    return {"still": state(still), "history": still.fitted.history,
            "refined": state(fit_lcam(clf, find_images(folder), REFINED))}  # fmt: skip


def one_of_two(number, folder, out):
    torch.set_num_threads(1)
    with joined("gloo", init_method=f"file://{out / 'meeting'}", rank=number, world_size=2):
        found = fit_still(folder, out / f"{number}.safetensors")
    torch.save(found | {"left": [name for name in threads() if "gloo" in name]}, out / f"{number}.pt")


def test_two_processes_fit_the_head_that_one_fits(photos, tmp_path):
    torch.multiprocessing.spawn(one_of_two, (photos, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{n}.pt") for n in (0, 1))
    alone = fit_still(photos, None)
    assert first["left"] == second["left"] == []
    assert same(first["still"], second["still"]) and same(first["refined"], second["refined"])
    assert all(torch.allclose(v, first["still"][k], atol=1e-4) for k, v in alone["still"].items())
    for one, two in zip(alone["history"], first["history"], strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    assert first["history"] == second["history"]
    assert (tmp_path / "0.safetensors").exists() and not (tmp_path / "1.safetensors").exists()


# --------------------------------------------------------------------------------------------------
# The command.


FACTORY = "from tiny import build\n\ndef cnn():\n    return build('cnn')\n"
MODEL = ["--model", "paints_to_fit:cnn", "--size", "32", "--quiet"]


@pytest.fixture
def place(photos, tmp_path, monkeypatch):
    (tmp_path / "paints_to_fit.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(RECIPES, "refined", REFINED)
    return tmp_path


FILES = ["concepts.json", "concepts.safetensors", "explainer.json", "lcam.safetensors", "names.json"]


def run(*words):
    return CliRunner().invoke(cli.app, [*words])


def test_fit_writes_an_explainer_that_explain_and_eval_take(place):
    got = run("fit", "photos", "-o", "mine", *MODEL)
    assert got.exit_code == 0, got.output
    assert sorted(p.name for p in (place / "mine").iterdir()) == FILES
    got = run("explain", "photos/0.png", "--explainer", "mine", "--format", "json", *MODEL)
    assert json.loads(got.stdout)["saliency"]["method"] == "l-cam"
    got = run("eval", "photos", "--explainer", "mine", "--metrics", "ad50", "--methods", "grad-cam", "--json", *MODEL)
    assert got.exit_code == 0, got.output
    assert "l-cam" in {row["method"] for row in json.loads(got.stdout)["rows"]}
    got = run("fit", "photos", "-o", "again", "--init", "mine", *MODEL)
    assert got.exit_code == 0 and (place / "again" / "explainer.json").exists()


def test_fit_under_torchrun_writes_and_speaks_once(place):
    (place / "photos" / "broken.png").write_bytes(b"no picture")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "saywhy"]
    words = ["fit", "photos", "-o", "mine", "--preset", "fast", *MODEL[:-1]]
    path = os.pathsep.join([str(place), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*launch, *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 1, done.stderr[-2000:]  # one picture is broken
    assert done.stderr.count("failed: ") == done.stderr.count("saywhy explain IMAGE --explainer mine") == 1
    assert sorted(p.name for p in (place / "mine").iterdir()) == FILES
    assert Explainer.load(place / "mine", _paints_to_fit()).parts["lcam"].card["pictures"] == 10


def test_fit_names_what_it_could_not_read_and_ends_with_1(place):
    (place / "photos" / "broken.png").write_bytes(b"no picture")
    got = run("fit", "photos", "-o", "mine", *MODEL)
    assert got.exit_code == 1 and "broken.png" in got.stderr
    assert Explainer.load(place / "mine", _paints_to_fit()).parts["lcam"] is not None


def _paints_to_fit():
    from saywhy.zoo import load_classifier

    return load_classifier("paints_to_fit:cnn", size=32)


def test_unknown_parts_and_presets_are_wrong_usage(place):
    for words, name in (
        (["--parts", "lcam,grapes"], "grapes"),
        (["--preset", "slow"], "slow"),
        (["--preset", "concepts=fast"], "fast"),
    ):
        got = run("fit", "photos", "-o", "mine", *words, *MODEL)
        assert isinstance(got.exception, UsageError) and name in str(got.exception)
    assert not (place / "mine").exists()
