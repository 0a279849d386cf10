"""One explanation from end to end, on networks so small that everything about them is known."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import saywhy
import tiny
from saywhy.classifier import Classifier
from saywhy.errors import InputError, ModelError, UsageError
from saywhy.explanation import Explanation, Statement, json_schema
from saywhy.image import Picture, Preprocess, read
from saywhy.intervene import CONFIRMING
from saywhy.language import parse_all
from saywhy.language.verify import interval

PLAIN = Preprocess(size=(64, 64), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


class Colours(nn.Module):
    """Classes red, green, blue: the amount of pure colour in the picture, through a ReLU'd 1 x 1 convolution."""

    def __init__(self, sharpness: float = 15.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(4)
        with torch.no_grad():
            self.conv.weight.copy_((2 * torch.eye(3) - 1)[:, :, None, None])
            self.conv.bias.zero_()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        return self.sharpness * self.pool(self.relu(self.conv(x))).mean((2, 3))


def patches() -> Picture:
    """A large red patch at the left, a small one at the top right, a green one at the bottom right, on uneven grey."""
    grey = np.random.default_rng(0).integers(100, 156, (8, 8)).repeat(16, 0).repeat(16, 1)
    pixels = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    pixels[20:110, 8:56] = (230, 20, 20)
    pixels[10:40, 80:112] = (225, 25, 25)
    pixels[70:112, 74:118] = (20, 210, 20)
    return read(pixels)


def colours(**given: object) -> Classifier:
    return Classifier(Colours(), classes=("red", "green", "blue"), preprocess=PLAIN, name="colours", **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Explanation:
    return saywhy.explain(colours(), patches(), regions=3)


def test_the_region_that_carries_the_class_comes_first_and_the_rival_speaks_against() -> None:
    found = saywhy.explain(colours(), patches(), regions=3, unit="log-odds")
    assert found.prediction.class_name == "red"
    assert found.versus is not None
    assert found.versus.class_name == "green"
    first, last = found.concepts[0], found.concepts[-1]
    assert first.place == "centre left"
    assert first.appearance[0].startswith("red")
    assert first.contribution > 0.1
    assert last.contribution < 0
    assert last.place == "bottom right"
    assert first.contrast is not None
    assert first.contrast > first.contribution


def test_shares_add_up_and_contributions_are_the_effects(found: Explanation) -> None:
    assert found.game is not None and found.graph is not None
    playing = [c for c in found.concepts if c.share is not None]
    assert sum(c.share or 0 for c in playing) == pytest.approx(found.game.full - found.game.empty, abs=1e-6)
    assert found.game.full == pytest.approx(found.target.probability, abs=1e-5)
    assert found.graph.fidelity["additivity_error"] < 1e-6
    assert [c.contribution for c in found.concepts] == [-c.effect.change for c in found.concepts]
    assert all(c.confirmed for c in playing)


def test_every_sentence_parses_back_and_cites_what_is_there(found: Explanation) -> None:
    ids = {c.id for c in found.concepts} | {e.id for e in found.graph.edges} | {"prediction", "baseline"}  # type: ignore[union-attr]
    claims = parse_all(found.text)
    assert [c.kind for c in claims] == [s.kind for s in found.statements]
    assert found.statements[0].kind == "prediction"
    assert any(s.kind in ("counted_most", "counted") for s in found.statements)
    for statement in found.statements:
        assert set(statement.evidence) <= ids
        assert statement.verified
        assert statement.effect is None or statement.effect.runs >= 4


def test_every_region_is_hidden_in_five_ways(found: Explanation) -> None:
    for concept in found.concepts:
        own = [r for r in found.runs if r.act == "hide" and r.regions == (concept.id,)]
        assert [(r.fill, r.seed) for r in own if not r.mirrored] == list(CONFIRMING)
        if concept.confirmed:
            assert [(r.fill, r.seed) for r in own if r.mirrored] == list(CONFIRMING), "and in the mirror"


def test_effects_are_the_mean_of_the_runs_and_the_interval_of_another(found: Explanation) -> None:
    for concept in found.concepts:
        own = [r for r in found.runs if r.act == "hide" and r.regions == (concept.id,) and not r.mirrored]
        lost = [found.target.probability - r.score for r in own]
        low, high = interval(lost)
        low, high = max(low, 0.0) if min(lost) > 0 else low, min(high, 0.0) if max(lost) < 0 else high
        assert concept.effect.change == pytest.approx(-np.mean(lost))
        assert (concept.effect.low, concept.effect.high) == pytest.approx((-min(high, found.target.probability), -low))
        assert concept.effect.runs == 5


def test_every_candidate_class_has_its_graph(found: Explanation) -> None:
    assert [g.class_index for g in found.graphs] == [0, 1, 2]
    k = sum(c.share is not None for c in found.concepts)
    assert all(len(g.edges) == k * (k - 1) // 2 for g in found.graphs)
    assert found.graph == found.graphs[0]


def test_the_record_survives_json_and_keeps_to_its_schema(found: Explanation) -> None:
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Explanation.from_dict(record).to_dict() == found.to_dict()
    assert set(record) == set(json_schema()["properties"])
    assert record["schema"] == 3
    assert "thumbnail" not in record


def test_spans_survive_json_and_name_what_is_there(found: Explanation) -> None:
    again = Explanation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert [s.spans for s in again.statements] == [s.spans for s in found.statements]
    names = ("red", "green", "blue")
    for s in again.statements:
        told = [s.text[p.start : p.end] for p in s.spans]
        assert told == [p.region if p.class_index is None else names[p.class_index] for p in s.spans]
        # Whatever else the words of this picture are, they name no region and no class.
        rest = "".join(c for i, c in enumerate(s.text) if not any(p.start <= i < p.end for p in s.spans))
        assert not re.search(r"[Rr]egion \d|\bgreen\b(?! patch)|\bblue\b(?! patch)", rest)
        assert {p.region for p in s.spans if p.region} >= set(s.evidence) & {c.id for c in again.concepts} - _unnamed(s)


def _unnamed(s: Statement) -> set[str]:
    # "No region counts": it rests on all of them and names none.
    return set(s.evidence) if s.kind in ("nothing", "unconfirmed", "text") else set()


def test_a_region_is_called_in_the_record_as_in_its_sentence(found: Explanation) -> None:
    looks = {r.id: (r.look, r.place) for claim in parse_all(found.text) for r in claim.regions}
    assert looks
    for concept in found.concepts:
        if concept.id in looks:
            assert looks[concept.id] == (concept.look, concept.place)
        assert concept.appearance == (
            *(f"{c.term} {100 * c.share:.0f} %" for c in concept.colours),
            *filter(None, [concept.size]),
        )


def test_the_same_seed_gives_the_same_record_at_any_batch_size(found: Explanation) -> None:
    again = saywhy.explain(colours(batch_size=3), patches(), regions=3)
    one, two = found.to_dict(), again.to_dict()
    for record in (one, two):
        record["cost"]["seconds"] = 0
    assert _rounded(one) == _rounded(two)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def test_target_and_versus_can_be_asked_for() -> None:
    e = saywhy.explain(colours(), patches(), target="green", versus="blue")
    assert (e.target.class_name, e.versus and e.versus.class_name) == ("green", "blue")
    assert e.statements[0].kind == "asked"
    assert e.concepts[0].place == "bottom right"


def test_in_log_odds_everything_but_probabilities_is_in_log_odds() -> None:
    e = saywhy.explain(colours(), patches(), unit="log-odds")
    assert e.game is not None and e.game.unit == "log-odds"
    shares = sum(c.share or 0 for c in e.concepts)
    assert shares == pytest.approx(e.game.full - e.game.empty, abs=1e-6)
    assert abs(e.concepts[0].contribution) > 1
    assert all(c.effect.unit == "log-odds" for c in e.concepts)
    assert {s.effect.unit for s in e.statements if s.effect and s.kind not in ("text",)} == {"log-odds"}
    assert all(0 <= r.score <= 1 for r in e.runs)
    page = saywhy.RENDERERS["html"].function(e).decode()
    assert "in log-odds" in page and f"{100 * e.runs[0].score:.1f}\u00a0%" in page
    again = saywhy.explain(colours(), patches(), seed=4)
    assert again.concepts[0].effect.unit == "probability"


def test_another_seed_changes_no_claim_of_a_clear_picture() -> None:
    one, other = (saywhy.explain(colours(), patches(), seed=s) for s in (0, 9))
    assert [s.kind for s in one.statements] == [s.kind for s in other.statements]
    assert [c.mask for c in one.concepts] == [c.mask for c in other.concepts]
    assert one.runs != other.runs, "the noise is another"


def test_fast_takes_at_most_sixty_passes_and_plays_no_game() -> None:
    e = saywhy.explain(colours(), patches(), fast=True)
    assert e.cost.forward_passes <= 60 and e.game is None and e.graph is None
    assert e.concepts[0].place == "centre left" and e.concepts[0].share is None


class Sure(nn.Module):
    """One class of three at over 98 % whatever is seen; red still adds to its evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Colours()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * torch.tensor([0.8, 0.0, 0.0]) + torch.tensor([5.0, 0.0, 0.0])


def test_a_saturated_network_is_told_in_evidence_and_its_default_class_is_named() -> None:
    clf = Classifier(Sure(), classes=("red", "green", "blue"), preprocess=PLAIN, name="sure")
    e = saywhy.explain(clf, patches())
    assert e.target.probability > 0.98
    kinds = {s.kind: s for s in e.statements}
    assert kinds["default"].text.startswith("Of a blank picture the model says red too (")
    first = next(s for s in e.statements if s.kind in ("counted", "counted_most"))
    assert "makes the evidence fall by a factor of" in first.text and "; the answer stays at 99 %." in first.text
    assert e.concepts[0].effect.unit == "log-odds" and e.concepts[0].confirmed
    assert e.parts["baseline"]["default"] == 0 and min(e.parts["baseline"]["target"].values()) > 0.9


def test_a_black_box_is_explained_by_its_scores_alone() -> None:
    net = Colours()
    asked: list[int] = []

    def scores(images: Tensor) -> Tensor:
        asked.append(len(images))
        with torch.no_grad():
            return net(images).softmax(1)

    clf = Classifier(scores, classes=("red", "green", "blue"), preprocess=PLAIN, activation="none", name="box")
    e = saywhy.explain(clf, patches())
    assert e.model.layer is None
    assert e.saliency is not None
    assert e.saliency.method == "rise"
    assert not e.concepts or e.concepts[0].contribution > 0
    assert e.cost.forward_passes <= sum(asked)
    assert e.cost.tail_passes == 0


@pytest.mark.parametrize("name", list(tiny.MODELS))
def test_networks_of_every_kind_are_explained(name: str) -> None:
    clf = tiny.classifier(tiny.build(name))
    e = saywhy.explain(clf, patches())
    assert e.statements
    assert e.model.layer
    assert np.isfinite([c.contribution for c in e.concepts]).all()


def test_a_multi_label_and_a_one_logit_network_are_explained() -> None:
    many = Classifier(Colours(4.0), classes=("red", "green", "blue"), preprocess=PLAIN, activation="sigmoid")
    assert saywhy.explain(many, patches()).prediction.class_name == "red"

    class OneLogit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Colours()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[:, :1] - 2

    two = Classifier(OneLogit(), classes=("other", "red"), preprocess=PLAIN, activation="sigmoid")
    e = saywhy.explain(two, patches())
    assert e.prediction.class_name == "red"
    assert e.versus is not None
    assert e.versus.probability == pytest.approx(1 - e.target.probability, abs=1e-5)
    one = Classifier(OneLogit(), classes=("red",), preprocess=PLAIN, activation="sigmoid")
    assert saywhy.explain(one, patches()).versus is None


def test_a_picture_that_means_nothing_gives_no_claims_about_regions() -> None:
    e = saywhy.explain(colours(), read(np.full((80, 80, 3), 128, dtype=np.uint8)))
    assert {s.kind for s in e.statements} <= {"prediction", "nothing", "default"}
    assert e.saliency is not None
    assert e.saliency.status == "flat"


class Failing(nn.Module):
    """A network that answers well in the dry run and badly once it is asked about a photo."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.how = Colours(), how

    def forward(self, x: Tensor) -> Tensor:
        scores = self.net(x)
        return self.how(scores) if 0.01 < float(x.std()) < 0.28 else scores


def _raise(scores: Tensor) -> Tensor:
    raise ZeroDivisionError("inside the network")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda s: s * float("nan"), "NaN"),
        (lambda s: s[:0], "0 rows"),
        (_raise, "ZeroDivisionError: inside the network"),
    ],
)
def test_a_failing_network_is_named_and_left_as_it_was(how: Callable[[Tensor], Tensor], words: str) -> None:
    net = Failing(how)
    net.train()
    before = torch.random.get_rng_state()
    with pytest.raises(ModelError, match=words):
        saywhy.explain(Classifier(net, preprocess=PLAIN), patches())
    assert all(m.training for m in net.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_is_asked_wrongly_is_an_error() -> None:
    clf = colours()
    with pytest.raises(UsageError, match="did you mean 'red' or 'green'"):
        saywhy.explain(clf, patches(), target="gren")
    with pytest.raises(UsageError, match="out of range"):
        saywhy.explain(clf, patches(), versus=3)
    with pytest.raises(UsageError, match="both"):
        saywhy.explain(clf, patches(), target="red", versus="red")
    with pytest.raises(UsageError, match="saliency method"):
        saywhy.explain(clf, patches(), method="grad-cham")
    with pytest.raises(UsageError, match="unit"):
        saywhy.explain(clf, patches(), unit="logits")
    with pytest.raises(InputError, match="no such file"):
        saywhy.explain(clf, "missing.jpg")


def test_a_photo_that_is_not_square_keeps_masks_and_boxes_on_the_photo() -> None:
    wide = Image.fromarray(patches().pixels).resize((300, 128))
    clf = Classifier(Colours(), preprocess=Preprocess(size=(64, 64), resize=64, mean=(0, 0, 0), std=(1, 1, 1)))
    e = saywhy.explain(clf, wide)
    x0, y0, x1, y1 = e.image.seen
    assert (y0, y1) == (0, 128)
    assert (x0, x1) == (86, 214)
    for concept in e.concepts:
        assert concept.mask.size == (128, 300)
        assert x0 <= concept.box[0] < concept.box[2] <= x1
        assert concept.mask.array().any()


@pytest.mark.parametrize(("name", "method"), [("cnn", "grad-cam"), ("swin", "grad-cam"), ("vit", "attention-rollout")])
def test_attention_leads_in_class_token_transformers_and_gradients_elsewhere(name: str, method: str) -> None:
    e = saywhy.explain(tiny.classifier(tiny.build(name)), patches(), regions=2)
    assert e.saliency is not None
    assert e.saliency.method == method
