"""The branch: a network that imitates a text space on a classifier's layers, and what its phrases count."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import oracles
import saywhy
import tiny
from saywhy import Classifier, Explainer, Preprocess
from saywhy.branch import learning
from saywhy.branch.effects import CONTROLS, Causes, effects, without_channels, without_component
from saywhy.branch.hearing import CHANNELS, Heard, masks_of, patches_of
from saywhy.branch.imitation import Imitator, imitate_step, slopes
from saywhy.branch.learning import Branch, around, teach
from saywhy.branch.levels import Level, normed, pooled, readings, shared_points, tapped_for
from saywhy.branch.part import load, save
from saywhy.branch.speaking import speak
from saywhy.cli import app
from saywhy.collection import find_images
from saywhy.errors import InputError, UsageError
from saywhy.image import read
from saywhy.parts import PARTS
from saywhy.passes import counting
from saywhy.seen import look
from saywhy.spaces import TEXT_SPACES, SpaceRow, TextSpace

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
WORDS = ("red", "green", "blue")
PLAIN = Preprocess(size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


class Patches(nn.Module):
    """Class 0 is how much red there is, class 1 that there is none; green and blue are seen and count for nothing."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.conv.weight.data = (torch.eye(3) * 2 - 1)[:, :, None, None]
        self.conv.bias.data = torch.zeros(3)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AvgPool2d(2), nn.Linear(3, 2)
        self.head.weight.data = torch.tensor([[30.0, 0, 0], [0, 0, 0]])
        self.head.bias.data = torch.tensor([0.0, 1.5])

    def forward(self, x):
        return self.head(self.pool(self.relu(self.conv(x))).mean(dim=(2, 3)))


def colours_seen(images):
    """How much of each colour there is, and something that is always there."""
    much = torch.stack([(2 * images[:, c] - images.sum(1)).clamp_min(0).mean(dim=(1, 2)) for c in range(3)], dim=1)
    return torch.cat([10 * much, torch.full((len(images), 1), 0.5)], dim=1)


def colours_said(texts):
    for text in texts:
        if text not in WORDS:
            raise UsageError(f"the toy space does not know {text!r}")
    return torch.eye(4)[[WORDS.index(text) for text in texts]]


TOY = TextSpace("toy", colours_seen, colours_said, 20.0, -6.0, "toy-1", "squares of colour", WORDS)


def patchy(names, seed, side=32):
    """A dark picture with squares of these colours."""
    pixels = np.full((side, side, 3), 12, dtype=np.uint8)
    for name, at in zip(names, np.random.default_rng(seed).permutation(4), strict=False):
        y, x = divmod(int(at), 2)
        pixels[16 * y + 3 : 16 * y + 13, 16 * x + 3 : 16 * x + 13] = COLOURS[name]
    return pixels


@pytest.fixture
def clf():
    return Classifier(Patches().eval(), classes=("red", "other"), preprocess=PLAIN, layer="pool")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures with every choice of the three colours, several times."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(24):
        Image.fromarray(patchy([w for k, w in enumerate(WORDS) if n >> k & 1], n)).save(folder / f"{n:02}.png")
    return folder


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(TEXT_SPACES, "toy", SpaceRow("squares of colour", lambda rest, clf: TOY))


def taught(clf, photos, **how):
    return teach(clf, find_images([photos]), TOY, WORDS, **how)


def random_branch(clf, *, phrases=3, seed=0):
    """A branch with random weights, what is read of two pictures, and the raw maps."""
    random = torch.Generator().manual_seed(seed)
    points, images = shared_points(clf), tiny.images(2)
    layers = [Level(p.path, p.grid.kind == "tokens", torch.zeros(1, p.channels)) for p in points]
    tap = clf.tap(images, points)
    reads = readings(tap, layers)
    levels = tuple(replace(level, cells=r[1].flatten(1).T) for level, r in zip(layers, reads, strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Imitator(sum(level.width for level in levels), 5, (7, 6))
    net.standardise(pooled(reads) + torch.randn(2, net.mean.numel(), generator=random))
    net.eval().requires_grad_(False)
    texts = F.normalize(torch.randn(phrases, 5, generator=random), dim=1)
    branch = Branch(
        net, levels, "toy", "toy-1", 6.0, -1.0, False, tuple(f"phrase {n}" for n in range(phrases)), texts,
        torch.ones(len(levels)) / len(levels), clf.fingerprint,
    )  # fmt: skip
    return branch, tap, [m[0] for m in reads]


# --------------------------------------------------------------------------------------------------
# Against slow plain code.


@pytest.mark.parametrize("likeness", [0.0, 0.001, 0.5])
def test_the_losses_are_those_of_the_paper(likeness):
    random = torch.Generator().manual_seed(1)
    z, seen = torch.randn(6, 9, generator=random), F.normalize(torch.randn(6, 5, generator=random), dim=1)
    texts = F.normalize(torch.randn(3, 5, generator=random), dim=1)
    net = Imitator(9, 5, (7, 6))
    found = imitate_step(net, texts, 12.0, likeness)((z, seen))
    assert float(found["loss"].detach()) == pytest.approx(
        oracles.branch_losses(net(z).detach(), seen, texts, 12.0, likeness), rel=1e-4
    )


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_gradients_of_all_phrases_at_once_are_those_of_one_backward_pass_each(name):
    branch, _, maps = random_branch(tiny.classifier(tiny.build(name)))
    z = torch.cat([m.mean(dim=(1, 2)) for m in maps]).requires_grad_()
    found = slopes(branch.net, z.detach(), branch.texts, branch.scale)
    for row, text in zip(found, branch.texts, strict=True):
        (grad,) = torch.autograd.grad(oracles.branch_score(lambda z: branch.net(z[None])[0], z, text, 6.0, -1.0), z)
        torch.testing.assert_close(row, grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_log_odds_regions_channels_and_drops_are_those_of_the_paper(name):
    branch, _, maps = random_branch(tiny.classifier(tiny.build(name)))
    heard = branch.hear(maps, branch.texts)
    speak_ = lambda z: branch.net(z[None])[0]  # noqa: E731
    drops = heard.drops()
    for t, text in enumerate(branch.texts):
        odds = oracles.branch_score(speak_, heard.z, text, 6.0, -1.0)
        torch.testing.assert_close(heard.odds[t], odds, atol=1e-5, rtol=1e-5)
        for n, level in enumerate(branch.levels):
            cells = maps[n][0].numel()
            slow = oracles.branch_region(speak_, maps, n, text, 6.0, level.mean) * cells
            torch.testing.assert_close(heard.regions[n][t], slow, atol=1e-4, rtol=1e-3)
            channels = oracles.branch_channels(speak_, maps, n, text, 6.0, CHANNELS)
            assert heard.leading(n)[t].tolist() == channels
            slow_drop = oracles.branch_drop(speak_, maps, n, text, 6.0, -1.0, level.mean)
            assert float(drops[t, n]) == pytest.approx(slow_drop, abs=1e-4)


def test_contributions_by_channels_are_those_of_the_paper():
    clf = tiny.classifier(tiny.build("cnn"))
    branch, tap, maps = random_branch(clf)
    n = len(maps) - 1
    seen = look(clf, read(np.uint8(255 * tap.images[0].permute(1, 2, 0).numpy())))
    tap = tapped_for(clf, seen.image[None], branch.levels)
    heard = branch.hear([m[0] for m in readings(tap, branch.levels)], branch.texts)
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    found = effects(tap, seen, heard, [n] * 3, n, masks, [seen.target, seen.versus], 0)
    path = branch.levels[n].path
    for t, text in enumerate(branch.texts):
        channels = oracles.branch_channels(lambda z: branch.net(z[None])[0], list(heard.read), n, text, 6.0, CHANNELS)
        for c, which in enumerate((seen.target, seen.versus)):
            slow = oracles.branch_contribution(
                lambda A: tap.replay(A, path), tap.maps(path)[0], channels, branch.levels[n].mean, which
            )
            assert float(found.channels[t, c]) == pytest.approx(slow, abs=1e-5)
    assert float(found.hidden.abs().max()) < 1e-6, "nothing was hidden"


# --------------------------------------------------------------------------------------------------
# What it reads, and what it takes out.


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_layers_go_from_fine_to_the_classifiers_own_and_tokens_are_read_after_a_norm_without_the_class_token(name):
    clf = tiny.classifier(tiny.build(name))
    points = shared_points(clf)
    sizes = [p.size[0] * p.size[1] for p in points]
    assert points[-1].path == clf.point.path and sizes == sorted(sizes, reverse=True)
    for point in points:
        level = Level(point.path, point.grid.kind == "tokens", torch.zeros(1, point.channels))
        raw = clf.tap(tiny.images(2), [point]).maps(point.path)
        seen = level.read(raw)
        assert seen.shape == (2, point.channels, *point.size)
        if level.tokens:
            torch.testing.assert_close(seen.mean(dim=1), torch.zeros(2, *point.size), atol=1e-5, rtol=0)
            torch.testing.assert_close(level.unread(seen[:1], raw[:1]), raw[:1], atol=1e-5, rtol=1e-4)
        else:
            assert torch.equal(seen, raw)
    assert any(p.grid.kind == "tokens" for p in points) == (name == "vit")


def test_tokens_are_normed_over_channels_as_torch_does_it():
    maps = torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(
        normed(maps)[0], F.layer_norm(maps.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_without_its_component_no_cell_speaks_for_a_phrase_and_as_much_elsewhere_says_nothing_of_it(name):
    branch, _, maps = random_branch(tiny.classifier(tiny.build(name)))
    heard = branch.hear(maps, branch.texts)
    for n, level in enumerate(branch.levels):
        slope, usual = heard.weights[n][0], level.mean[:, None, None]
        changed = without_component(heard, 0, n, seed=3)
        assert len(changed) == 1 + CONTROLS
        before = torch.einsum("k,khw->hw", slope, maps[n] - usual)
        after = torch.einsum("k,mkhw->mhw", slope, changed - usual)
        torch.testing.assert_close(after[0], before.clamp_max(0), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(after[1:], before.expand(CONTROLS, -1, -1), atol=1e-3, rtol=1e-2)
        assert (changed[1:] != maps[n]).flatten(1).any(dim=1).all(), "each control changes something"
        i = int(heard.regions[n][0].argmax())
        moved = (maps[n] - changed).flatten(2)[:, :, i] / heard.regions[n][0].flatten()[i]
        spread = torch.cov(level.cells.T, correction=0).double() + 1e-9 * torch.eye(level.width)
        size = (moved.double() * torch.linalg.solve(spread, moved.double().T).T).sum(1) * (
            slope @ spread.float() @ slope
        )
        if len(level.cells) > 4 * level.width:  # deviations of every direction are known
            assert float(size[0]) == pytest.approx(1, rel=0.01), "one deviation of the phrase"
            assert 0.5 < float(size[1:].mean()) < 1.6, "and one of something else, on average"
        assert torch.equal(changed, without_component(heard, 0, n, seed=3))


def test_channels_go_one_after_the_other_and_a_narrow_layer_is_not_asked_for_more_than_it_has():
    branch, _, maps = random_branch(tiny.classifier(tiny.build("cnn")))
    heard, n = branch.hear(maps, branch.texts), len(maps) - 1
    changed, level = without_channels(heard, 1, n), branch.levels[n]
    assert len(changed) == CHANNELS and level.width < CHANNELS
    other = [int(((c - maps[n]).flatten(1).abs().sum(1) > 1e-6).sum()) for c in changed]
    assert other == sorted(other) and other[0] <= 1
    assert torch.equal(changed[-1], level.mean[:, None, None].expand_as(maps[n]))


def test_what_counts_is_missed_in_every_way_and_more_than_anything_else_taken_out():
    hidden = torch.tensor([[0.2, 0.3], [0.2, -0.01], [0.2, 0.3], [-0.2, -0.3], [0.2, 0.3]])[:, :, None]
    removed = torch.tensor([0.1, 0.1, 0.1, -0.1, -0.1])[:, None]
    control = torch.tensor([0.05, 0.05, 0.1, 0.05, 0.05])[:, None, None].expand(-1, CONTROLS, 1)
    found = Causes(removed, removed, control, hidden, torch.ones(5, dtype=torch.bool))
    assert found.counts[:, 0].tolist() == [True, False, False, True, False]
    assert not replace(found, present=torch.zeros(5, dtype=torch.bool)).counts.any(), "what is not there cannot count"
    torch.testing.assert_close(found.contributions[:, 0], torch.tensor([0.25, 0, 0, -0.25, 0]))


# --------------------------------------------------------------------------------------------------
# A branch that was taught.


def test_a_phrase_is_found_where_it_is_and_what_the_classifier_does_not_use_contributes_nothing(clf, photos):
    branch, failures = taught(clf, photos)
    assert not failures and branch.card["cosine"] > branch.card["cosine_of_the_mean"] + 0.02
    pixels = patchy(["red", "green"], 5)
    found = speak(branch, look(clf, read(pixels), "red"), WORDS)
    assert found.phrases == WORDS
    assert (found.sure >= 0.5).tolist() == [True, True, False]
    for t, name in enumerate(("red", "green")):
        square = torch.from_numpy((pixels == COLOURS[name]).all(axis=2))
        assert (found.masks[t] & square).sum() > 0.8 * (found.masks[t] | square).sum()
    assert found.effects.counts[:, 0].tolist() == [True, False, False]
    assert found.effects.contributions[0, 0] > 0.3 and (found.effects.contributions[1:] == 0).all()
    # The other class loses what this one wins.
    assert found.effects.contributions[0, 1] == pytest.approx(-float(found.effects.contributions[0, 0]), abs=1e-6)


def test_without_being_asked_it_says_what_it_finds_true_and_nothing_of_a_picture_where_that_is_nothing(clf, photos):
    branch, _ = taught(clf, photos)
    found = speak(branch, look(clf, read(patchy(["green"], 3)), "other"))
    assert found.phrases == ("green",)
    assert speak(branch, look(clf, read(patchy([], 3)), "other")) is None


def test_the_same_seed_teaches_the_same_branch_and_ways_differ(clf, photos):
    one, two = (taught(clf, photos, seed=3)[0] for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(one.net.state_dict().values(), two.net.state_dict().values(), strict=True)
    )
    assert torch.equal(one.shares, two.shares) and one.card == two.card
    other = taught(clf, photos, seed=3, way="vectors")[0]
    assert not torch.equal(one.net.last.weight, other.net.last.weight) and other.card["way"] == "vectors"


@pytest.mark.parametrize(
    ("place", "goes_on"),
    [
        ("looking at pictures: 8", "looking at pictures: 6 of 24"),
        ("epoch 3", "epoch 3"),
        ("hiding patches from the text space: 8", "hiding patches from the text space: 6 of 24"),
    ],
)
def test_an_interrupted_teaching_goes_on_where_it_was_to_the_same_branch(
    clf, photos, tmp_path, monkeypatch, place, goes_on
):
    monkeypatch.setattr(learning, "SAVED", 5)
    config = replace(learning.TEACHINGS["likeness"].config, epochs=4)
    monkeypatch.setitem(learning.TEACHINGS, "likeness", replace(learning.TEACHINGS["likeness"], config=config))
    file, straight, again = tmp_path / "branch.checkpoint.safetensors", [], []
    whole = taught(clf, photos, tell=straight.append)[0]

    def stop(step):
        if step.startswith(place):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(clf, photos, checkpoint=file, tell=stop)
    branch = taught(clf, photos, checkpoint=file, tell=again.append)[0]
    pairs = zip(whole.net.state_dict().values(), branch.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(branch.shares, whole.shares) and branch.card == whole.card
    assert again[0].startswith(goes_on) and again == straight[-len(again) :]
    with pytest.raises(UsageError, match="another run"):
        taught(clf, photos, checkpoint=file, seed=1)


def test_a_thousand_phrases_need_no_more_passes_than_one(clf, photos):
    branch, _ = taught(clf, photos)
    seen = look(clf, read(patchy(["red"], 5)), "red")
    many = replace(
        branch, phrases=tuple(f"phrase {n}" for n in range(1000)),
        texts=torch.cat([branch.texts[:1], -torch.eye(4)[torch.arange(999) % 3]]),
    )  # fmt: skip
    passes = []
    for one in (replace(branch, phrases=("red",), texts=branch.texts[:1]), many):
        with counting() as meter:
            assert len(speak(one, seen).phrases) == 1
        passes.append((meter.forward_passes, meter.tail_passes))
    assert passes[0] == passes[1]


def test_shares_of_layers_sum_to_one_and_a_layer_that_foretells_nothing_gets_none(clf, photos):
    branch, _ = taught(clf, photos)
    assert float(branch.shares.sum()) == pytest.approx(1) and (branch.shares >= 0).all()
    dull = replace(branch, levels=branch.levels, texts=branch.texts)
    same = learning.learned_shares(dull, clf, TOY, torch.full((2, 3, 32, 32), 0.05), 0, lambda step: None)
    assert torch.equal(same, branch.shares), "no phrase is true of a dark picture: the shares stay as they are"


def test_views_are_the_picture_its_mirror_and_crops_of_its_size():
    image = tiny.images(1)
    views = around(image, torch.Generator().manual_seed(0))
    assert views.shape == (2 + learning.CROPS, 3, 32, 32)
    assert torch.equal(views[0], image[0]) and torch.equal(views[1], image[0].flip(2))
    assert views.min() >= 0 and views.max() <= 1


def test_masks_follow_the_patches_of_the_picture():
    pixels = patchy(["red"], 5)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    square = torch.from_numpy((pixels == COLOURS["red"]).all(axis=2))
    patches = patches_of(image)
    assert (patches.sum(dim=0) == 1).all(), "every pixel lies in one"
    own = (patches & square).sum(dim=(1, 2)) / patches.sum(dim=(1, 2))
    assert torch.equal(masks_of(own[None], patches)[0], square)
    assert not masks_of(torch.zeros(1, len(patches)), patches).any()


# --------------------------------------------------------------------------------------------------
# As a part.


def test_saved_and_loaded_it_says_the_same(clf, photos, tmp_path):
    branch, _ = taught(clf, photos)
    row = json.loads(json.dumps(save(branch, tmp_path)))
    again = load(tmp_path, row, clf)
    assert again.phrases == branch.phrases and again.card == branch.card
    seen = look(clf, read(patchy(["red", "blue"], 1)), "red")
    one, two = (speak(b, seen, WORDS) for b in (branch, again))
    assert torch.equal(one.sure, two.sure) and torch.equal(one.masks, two.masks)
    assert torch.equal(one.effects.removed, two.effects.removed)


def test_a_branch_of_another_classifier_is_refused_and_a_broken_file_is_told(clf, photos, tmp_path):
    branch, _ = taught(clf, photos)
    row = save(branch, tmp_path)
    other = Patches().eval()
    other.head.weight.data += 1
    with pytest.raises(UsageError, match="shares the layers of the classifier"):
        load(tmp_path, row, Classifier(other, classes=("red", "other"), preprocess=PLAIN, layer="pool"))
    with pytest.raises(InputError, match="cannot be read as a branch"):
        load(tmp_path, {**row, "phrases": ["red"]}, clf)
    (tmp_path / "branch.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as a branch"):
        load(tmp_path, row, clf)


def test_the_record_the_text_and_the_page_say_what_counts_and_whose_words_they_are(clf, photos, tmp_path):
    made = Explainer.fit(clf, photos, ["branch"], space="toy", folder=tmp_path / "made")
    assert "cosine" in made.made["branch"].summary and "squares of colour" in made.made["branch"].summary
    ex = Explainer.load(made.save(tmp_path / "made"), clf)
    e = ex.explain(read(patchy(["red", "green"], 5)), phrases=["red", "green", "blue"])
    found = e.parts["branch"]
    assert [r["phrase"] for r in found["phrases"]] == list(WORDS) and not found["own_features"]
    red, green, blue = found["phrases"]
    assert red["present"] and red["target"]["counts"] and red["target"]["contribution"] > 0.3
    assert green["present"] and green["target"]["contribution"] == 0 and not blue["present"]
    assert red["box"] and red["place"] and red["layer"] in found["shares"]
    assert red["versus"]["contribution"] < 0
    text = saywhy.RENDERERS["text"].function(e).decode()
    assert (
        "Phrases (text space toy)" in text and "it counts for nothing here: green" in text and "Not seen: blue" in text
    )
    html = saywhy.RENDERERS["html"].function(e).decode()
    assert "Phrases that a branch" in html and "text space toy" in html
    assert e.parts["branch"] == ex.explain(read(patchy(["red", "green"], 5)), phrases=WORDS).parts["branch"]


def test_a_teacher_made_of_the_classifiers_own_features_is_labelled(clf, photos, monkeypatch):
    monkeypatch.setitem(TEXT_SPACES, "own-toy", SpaceRow("", lambda rest, clf: replace(TOY, own_features=True)))
    ex = Explainer.fit(clf, photos, ["branch"], space="own-toy")
    assert ex.parts["branch"].card["teacher_from_own_features"]
    assert "made of the classifier's own features" in ex.made["branch"].summary
    e = ex.explain(read(patchy(["red"], 5)))
    assert e.parts["branch"]["own_features"]
    for name in ("text", "html"):
        assert "no witness beside it" in saywhy.RENDERERS[name].function(e).decode()


def test_what_cannot_be_done_is_refused_with_a_way_out(clf, photos, tmp_path, monkeypatch):
    branch, _ = taught(clf, photos)
    ex = Explainer(clf, {"branch": branch})
    photo = read(patchy(["red"], 5))
    with pytest.raises(UsageError, match="toy space does not know 'violet'"):
        ex.explain(photo, phrases=["violet"])
    with pytest.raises(UsageError, match="--parts branch"):
        saywhy.explain(clf, photo, phrases=["red"])
    monkeypatch.setitem(TEXT_SPACES, "toy", SpaceRow("", lambda rest, clf: replace(TOY, fingerprint="toy-2")))
    with pytest.raises(UsageError, match=r"toy-1.*toy-2.*3 phrases"):
        ex.explain(photo, phrases=["violet"])
    assert ex.explain(photo, phrases=["red"]).parts["branch"]["phrases"], "those it knows need no text space"
    black = Classifier(lambda x: torch.zeros(len(x), 2), preprocess=PLAIN, name="black")
    with pytest.raises(UsageError, match="black-box classifier has no activations"):
        taught(black, photos)
    for phrases, way, says in (((), "likeness", "--phrases FILE"), (WORDS, "by heart", "unknown way to teach")):
        with pytest.raises(UsageError, match=says):
            teach(clf, find_images([photos]), TOY, phrases, way)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="none of 1 pictures can be read"):
        teach(clf, find_images([tmp_path / "bad.png"]), TOY, WORDS)


def test_one_picture_one_phrase_and_a_picture_that_cannot_be_read(clf, tmp_path):
    Image.fromarray(patchy(["red"], 1)).save(tmp_path / "one.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    branch, failures = teach(clf, find_images([tmp_path]), TOY, ["red", " red "])
    assert branch.phrases == ("red",) and [path for path, _ in failures] == [str(tmp_path / "bad.png")]
    assert branch.card["held_out_views"] == 0 and branch.card["unreadable"] == 1
    assert speak(branch, look(clf, read(patchy(["red"], 1)), "red"), ["red"]).phrases == ("red",)


def test_constant_activations_give_no_region_and_no_contribution(clf, photos):
    branch, _ = taught(clf, photos)
    flat = speak(branch, look(clf, read(np.full((32, 32, 3), 12, dtype=np.uint8)), "other"), WORDS)
    assert torch.isfinite(flat.sure).all() and (flat.effects.contributions == 0).all()


def test_phrases_come_by_the_command_line_with_commas_or_from_a_file(photos, tmp_path, monkeypatch):
    out, file = tmp_path / "made", tmp_path / "phrases.txt"
    file.write_text("red\n\ngreen\n")
    model = tmp_path / "models.py"
    model.write_text("from test_branch import Patches\n\ndef make():\n    return Patches().eval()\n")
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--model", "models:make", "--size", "32", "--resize", "0", "--mean", "0", "--std", "1",
               "--layer", "pool", "--activation", "softmax"]  # fmt: skip
    run = CliRunner().invoke(
        app,
        ["fit", str(photos), "--parts", "branch", "--space", "toy", "--phrases", str(file), "-o", str(out), *options],
    )
    assert run.exit_code == 0, run.output
    assert json.loads((out / "explainer.json").read_text())["parts"]["branch"]["phrases"] == ["red", "green"]
    photo = str(photos / "03.png")
    asked = ["explain", photo, "--explainer", str(out), "--phrases", "red,blue", "--format", "json", *options]
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 0, run.output
    assert [r["phrase"] for r in json.loads(run.stdout)["parts"]["branch"]["phrases"]] == ["red", "blue"]
    for bad in (" , ", ","):
        run = CliRunner().invoke(app, ["explain", photo, "--explainer", str(out), "--phrases", bad, *options])
        assert isinstance(run.exception, UsageError) and "no phrase in it" in str(run.exception)


def test_the_part_is_fitted_only_where_it_is_asked_for():
    from saywhy.explainer import fittable

    assert (
        "branch" not in fittable()
        and "branch" in fittable(["branch"])
        and PARTS["branch"].presets == tuple(learning.TEACHINGS)
    )


def test_heard_of_some_phrases_is_what_was_heard_of_all():
    branch, _, maps = random_branch(tiny.classifier(tiny.build("cnn")))
    every = branch.hear(maps, branch.texts)
    some = every.some([2, 0])
    assert isinstance(some, Heard)
    torch.testing.assert_close(some.odds, every.odds[[2, 0]])
    patches = patches_of(tiny.images(1)[0])
    torch.testing.assert_close(some.fused(branch.shares, patches), every.fused(branch.shares, patches)[[2, 0]])
