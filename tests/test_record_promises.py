"""What the record says agrees with itself and with what was measured: contributions, graphs, shares, classes, costs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import saywhy
import tiny
from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.explanation import Explanation, GraphRecord
from saywhy.graph.build import spatial_relation
from saywhy.intervene import Experiment
from saywhy.parts import Confirmed
from saywhy.passes import counting
from saywhy.record import _saliency, _together
from saywhy.regions.records import _at_the_whole
from saywhy.settling import _run
from test_explainer import PLAIN, Colours, colours, patches


@pytest.fixture(scope="module")
def found() -> Explanation:
    return saywhy.explain(colours(), patches(), regions=3, versus="blue", seed=5)


class Many(nn.Module):
    """Thirty classes of which the first three are the colours; the others follow at a distance, each lower."""

    def __init__(self) -> None:
        super().__init__()
        self.few = Colours()

    def forward(self, x: Tensor) -> Tensor:
        scores = self.few(x)
        return torch.cat([scores, -torch.arange(27.0).expand(len(x), -1) / 10 - 1], dim=1)


@pytest.fixture(scope="module")
def many() -> Explanation:
    return saywhy.explain(Classifier(Many(), preprocess=PLAIN), patches(), regions=2, versus=20)


# --------------------------------------------------------------------------------------------------
# Graphs.


def edges(graph: GraphRecord) -> dict[str, float]:
    return {e.id: e.contribution for e in graph.edges}


def test_an_edge_of_the_target_is_what_the_five_ways_give_together(found: Explanation) -> None:
    assert found.versus is not None and found.graph is not None
    full, lead = found.target.probability, found.target.probability - found.versus.probability
    tried = 0
    for e in found.graph.edges:
        runs = [{r.fill: r for r in found.runs if r.act == "hide" and not r.mirrored and set(r.regions) == set(ids)}
                for ids in ((e.source,), (e.target,), (e.source, e.target))]  # fmt: skip
        if not runs[2]:
            continue
        tried += 1
        rows = [[way[fill] for way in runs] for fill in runs[2]]
        together = [full - a.score - b.score + both.score for a, b, both in rows]
        assert e.contribution == pytest.approx(np.mean(together), abs=1e-9)
        moved = [lead - (a.contrast or 0) - (b.contrast or 0) + (both.contrast or 0) for a, b, both in rows]
        assert e.contrast == pytest.approx(np.mean(moved), abs=1e-6)
    assert tried


def test_a_graph_joins_the_players_and_its_values_add_up(found: Explanation) -> None:
    for graph in found.graphs:
        assert 0 <= graph.fidelity["additivity_error"] < 1e-6
        assert graph.nodes == tuple(c.id for c in found.concepts if c.share is not None)


def test_an_edge_is_confirmed_exactly_where_a_sentence_says_it() -> None:
    for photo in (patches(),):
        e = saywhy.explain(colours(), photo)
        said = {i for s in e.statements if s.kind in ("needs", "stands_in") for i in s.evidence if "-" in i}
        assert e.graph is not None
        assert {edge.id for edge in e.graph.edges if edge.confirmed} >= said
        assert not any(edge.confirmed for g in e.graphs if g.class_index != e.target.class_index for edge in g.edges)


def test_relations_of_the_graph_hold_on_the_photo(found: Explanation) -> None:
    middle = {c.id: np.argwhere(c.mask.array()).mean(axis=0) for c in found.concepts}
    assert found.graph is not None
    for e in found.graph.edges:
        (y0, x0), (y1, x1) = middle[e.source], middle[e.target]
        words = {"left of": x0 < x1, "right of": x0 > x1, "above": y0 < y1, "below": y0 > y1}
        assert words[e.relation]
        assert e.distance == pytest.approx(np.hypot(y0 - y1, x0 - x1) / np.hypot(128, 128), abs=0.01)


def test_of_many_classes_the_target_the_best_five_and_the_rival_have_graphs_once_each(many: Explanation) -> None:
    best = [c.class_index for c in many.prediction.top]
    assert [g.class_index for g in many.graphs] == [*best, 20] and len(set(best)) == 5


def test_up_to_twenty_classes_every_class_has_a_graph() -> None:
    class Some(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.many, self.count = Many(), count

        def forward(self, x: Tensor) -> Tensor:
            return self.many(x)[:, : self.count]

    for count, graphs in ((20, 20), (21, 5)):
        e = saywhy.explain(Classifier(Some(count), preprocess=PLAIN), patches(), regions=1)
        assert len(e.graphs) == graphs


# --------------------------------------------------------------------------------------------------
# Regions.


def test_the_importance_is_the_share_of_the_probability_that_hiding_takes_never_below_none_or_above_all() -> None:
    e = saywhy.explain(Classifier(Colours(20.0), preprocess=PLAIN), patches(), target="class 1", regions=3)
    for c in e.concepts:
        assert c.importance == pytest.approx(min(1.0, max(0.0, -c.effect.change / e.target.probability)))
    against = next(c for c in e.concepts if c.effect.change > 0.01)
    assert against.importance == 0
    assert 0.1 < e.concepts[0].importance < 1


def test_an_effect_is_that_of_hiding_the_region_alone_in_all_its_runs(found: Explanation) -> None:
    for c in found.concepts:
        own = [r for r in found.runs if r.act == "hide" and r.regions == (c.id,) and not r.mirrored]
        changes = [r.score - found.target.probability for r in own]
        assert c.effect.change == pytest.approx(float(np.mean(changes)))
        assert (c.effect.runs, c.effect.passes) == (len(own), len(own))
        assert c.effect.fill == ", ".join(sorted({r.fill for r in own}))


def test_the_score_of_a_region_is_its_share_of_what_the_map_shows(found: Explanation) -> None:
    assert found.saliency is not None
    values = torch.tensor(found.saliency.values).clamp_min(0)
    shown = F.interpolate(values[None, None], (64, 64), mode="bilinear")[0, 0]
    for c in found.concepts:
        inside = torch.from_numpy(c.mask.array()[::2, ::2].copy())
        assert c.score == pytest.approx(float(shown[inside].sum() / shown.sum()), abs=0.03)
    assert 0.2 < sum(c.score for c in found.concepts) <= 1 + 1e-6


def test_the_contrast_is_the_contribution_minus_what_the_same_regions_give_the_rival() -> None:
    # With two classes what one loses the other gains.
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Colours()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[:, :2]

    e = saywhy.explain(Classifier(Two(), preprocess=PLAIN), patches(), regions=3)
    assert [c.contrast for c in e.concepts] == pytest.approx([2 * c.contribution for c in e.concepts], abs=1e-6)


def test_without_a_second_class_nothing_is_contrasted() -> None:
    class OneLogit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Colours()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[:, :1] - 2

    e = saywhy.explain(Classifier(OneLogit(), classes=("red",), preprocess=PLAIN, activation="sigmoid"), patches())
    assert e.versus is None and all(c.contrast is None for c in e.concepts)
    assert all(edge.contrast is None for g in e.graphs for edge in g.edges)
    assert all(r.contrast is None for r in e.runs)


def test_a_region_is_said_to_belong_to_the_asked_class_and_lies_where_its_mask_lies(found: Explanation) -> None:
    for c in found.concepts:
        ys, xs = np.nonzero(c.mask.array())
        assert c.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert (c.hypothesis, c.present, c.name, c.name_confidence) == (found.target.class_index, True, None, None)
        assert c.mask.size == (128, 128)


def test_a_mask_covers_the_same_part_of_the_photo_as_of_the_models_view(found: Explanation) -> None:
    first = found.concepts[0].mask.array()
    red = patches().pixels[..., 0] > 200
    left = red & (np.arange(128) < 60)
    assert (first & left).sum() > 0.75 * first.sum()


# --------------------------------------------------------------------------------------------------
# The answer, the map, the cost.


def test_the_answer_is_the_likeliest_class_and_the_best_five_are_in_order(many: Explanation) -> None:
    top = many.prediction.top
    assert len(top) == 5 and top[0].class_index == many.prediction.class_index
    assert [c.probability for c in top] == sorted((c.probability for c in top), reverse=True)
    assert many.prediction.probability == top[0].probability
    assert all(c.class_name == f"class {c.class_index}" for c in top)


def test_the_game_is_told_in_the_asked_unit() -> None:
    p, odds = (saywhy.explain(colours(), patches(), unit=unit) for unit in ("probability", "log-odds"))
    assert p.game is not None and odds.game is not None
    assert p.game.fills == odds.game.fills == ("inpaint",)
    full = p.game.full
    assert odds.game.full == pytest.approx(float(torch.logit(torch.tensor(full, dtype=torch.float64))), abs=1e-4)
    assert (p.game.unit, odds.game.unit) == ("probability", "log-odds")


class Two(nn.Module):
    """Two of the colours: what one loses the other gains."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Colours()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, :2]


@pytest.mark.parametrize("unit", ["probability", "log-odds"])
def test_shares_add_up_to_the_game_and_the_other_class_mirrors_it(unit: str) -> None:
    e = saywhy.explain(Classifier(Two(), preprocess=PLAIN), patches(), regions=3, unit=unit)
    assert e.game is not None and e.game.unit == unit

    def value(p: float) -> float:
        return float(torch.logit(torch.tensor(p, dtype=torch.float64), eps=1e-6)) if unit == "log-odds" else p

    assert e.game.full == pytest.approx(value(e.target.probability), abs=1e-4)
    shares = [c.share for c in e.concepts if c.share is not None]
    assert sum(shares) == pytest.approx(e.game.full - e.game.empty, abs=1e-5)
    assert [c.share is not None for c in e.concepts] == [True] * len(shares) + [False] * (len(e.concepts) - len(shares))
    (other,) = (g for g in e.graphs if g.class_index != e.target.class_index)
    game = {
        frozenset(r.regions): value(r.score)
        for r in e.runs
        if (r.act, r.fill, r.mirrored) == ("hide", "inpaint", False)
    }
    seen = 0
    for edge in other.edges:
        a, b = edge.source, edge.target
        if frozenset({a, b}) in game:
            seen += 1
            adds = e.game.full - game[frozenset({a})] - game[frozenset({b})] + game[frozenset({a, b})]
            assert edge.contribution == pytest.approx(-adds, abs=1e-4)
        assert edge.contrast == pytest.approx(2 * edge.contribution, abs=1e-4)
    assert seen


def test_a_map_is_kept_raw_with_its_ends_and_the_method_that_made_it(found: Explanation) -> None:
    assert found.saliency is not None
    values = np.array(found.saliency.values)
    assert values.shape == found.saliency.grid
    assert (found.saliency.minimum, found.saliency.maximum) == pytest.approx((values.min(), values.max()), rel=1e-5)
    assert found.saliency.method == "grad-cam" and "saliency:grad-cam" in found.provenance.parts
    assert found.saliency.status == "ok"


def test_a_large_map_is_kept_small_and_keeps_its_shape() -> None:
    e = saywhy.explain(tiny.classifier(tiny.build("cnn")), patches(), method="occlusion", regions=1)
    assert e.saliency is not None and max(e.saliency.grid) <= 64
    wide = Classifier(
        Colours(), preprocess=saywhy.Preprocess(size=(64, 96), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    )
    big = saywhy.explain(wide, patches(), method="occlusion", regions=1)
    assert big.saliency is not None and max(big.saliency.grid) <= 64
    assert big.saliency.grid[1] == pytest.approx(1.5 * big.saliency.grid[0], abs=1)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [((7, 7), (7, 7)), ((64, 64), (64, 64)), ((65, 13), (56, 11)), ((40, 80), (28, 56)), ((112, 112), (56, 56))],
)
def test_up_to_64_cells_a_side_a_map_is_kept_and_a_larger_one_as_means_of_its_cells(
    shape: tuple[int, int], grid: tuple[int, int]
) -> None:
    raw = torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 0.3
    found = _saliency(raw, "m")
    values = torch.tensor(found.values)
    assert found.grid == tuple(values.shape) == grid and found.status == "ok"
    want = F.avg_pool2d(raw[None], 2)[0] if shape == (112, 112) else raw
    if want.shape == values.shape:
        assert torch.allclose(values, want, atol=1e-6)
    assert (found.minimum, found.maximum) == pytest.approx((float(values.min()), float(values.max())), rel=1e-5)


def test_values_that_are_not_finite_are_told_and_kept_as_nothing() -> None:
    raw = torch.tensor([[1.23456789, float("nan")], [float("inf"), float("-inf")]])
    found = _saliency(raw, "m")
    assert (found.status, found.values) == ("not_finite", ((1.23457, 0.0), (0.0, 0.0)))
    statuses = [_saliency(torch.full((2, 2), v), "m").status for v in (0.0, -1.0)]
    assert statuses == ["flat", "all_negative"] or statuses == ["flat", "flat"]


def test_the_record_names_what_made_it(found: Explanation) -> None:
    assert (found.provenance.seed, found.provenance.saywhy) == (5, saywhy.__version__)
    assert found.provenance.torch == torch.__version__
    assert found.model.name == "colours" and found.model.fingerprint == colours().fingerprint
    assert saywhy.explain(Classifier(Colours(), preprocess=PLAIN), patches(), regions=1).model.name == "Colours"
    assert found.model.layer and found.model.layer_reason
    picture = patches()
    image = found.image
    assert (image.width, image.height, image.seen, image.sha256) == (128, 128, (0, 0, 128, 128), picture.sha256)
    assert found.thumbnail.startswith(b"\xff\xd8") and found.text == "\n".join(s.text for s in found.statements)


def test_the_cost_is_what_was_counted() -> None:
    with counting() as meter:
        e = saywhy.explain(colours(), patches(), regions=3)
    assert (e.cost.forward_passes, e.cost.tail_passes) == (meter.forward_passes, meter.tail_passes)
    assert len(e.runs) <= e.cost.forward_passes <= 160
    assert e.cost.seconds > 0


def test_the_runs_are_numbered_and_every_one_is_kept(found: Explanation) -> None:
    assert [r.id for r in found.runs] == [f"r{i + 1}" for i in range(len(found.runs))]
    assert found.versus is not None
    assert all(r.contrast is not None and r.score - r.contrast >= 0 for r in found.runs)
    assert [c.id for c in found.concepts] == [str(i + 1) for i in range(len(found.concepts))]


def test_relations_hold_for_offsets_of_less_than_a_pixel() -> None:
    def mask(*cells: tuple[int, int]) -> np.ndarray:
        out = np.zeros((10, 10), dtype=bool)
        for y, x in cells:
            out[y, x] = True
        return out

    one, lower, further = mask((4, 4)), mask((4, 4), (5, 4)), mask((4, 4), (4, 5))
    assert [spatial_relation(a, one)[0] for a in (lower, further)] == ["below", "right of"]
    assert [spatial_relation(one, a)[0] for a in (lower, further)] == ["above", "left of"]


def test_what_a_pair_adds_at_the_whole_is_the_second_difference_with_all_others_seen() -> None:
    rng = np.random.default_rng(3)
    values = rng.random(8)  # of the coalitions of three players, player i in bit i
    got = _at_the_whole(values, 3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        alone = [s for s in range(8) if s == 7 - 2**i], [s for s in range(8) if s == 7 - 2**j]
        expected = values[7] - values[alone[0][0]] - values[alone[1][0]] + values[7 - 2**i - 2**j]
        assert got[i, j] == got[j, i] == pytest.approx(expected, abs=1e-12)
    assert not got.diagonal().any()


def test_fields_that_two_fill_or_that_there_are_not_are_all_named_in_order() -> None:
    own, part = {"game": None, "concepts": ()}, Confirmed(said=[], fields={"graphs": (), "graph": None})
    assert _together(own, {"mine": part}) == {**own, "graphs": (), "graph": None}
    assert sorted(own) == ["concepts", "game"], "and what was given stays as it was"
    for _ in range(3):
        with pytest.raises(UsageError, match="the part b fills graph, graphs, which is filled already"):
            _together(own, {"a": part, "b": part})
    strange = Confirmed(said=[], fields={"z": 1, "game_": 2, "m": 3})
    with pytest.raises(UsageError, match="the part c fills game_, m, z, which no Explanation has"):
        _together(own, {"c": strange})


@pytest.mark.parametrize("versus", [None, 1])
@pytest.mark.parametrize("mirror", [None, (0.6, 0.3, 0.1)])
def test_a_run_knows_who_won_by_how_much_and_what_the_whole_mirror_gave(
    versus: int | None, mirror: tuple[float, ...] | None
) -> None:
    clf = SimpleNamespace(exclusive=True)
    seen = SimpleNamespace(target=0, versus=versus, tap=SimpleNamespace(clf=clf), says=lambda p: p.argmax(1))
    trial = Experiment("hide", (0,), "mean", 7, torch.tensor([0.25, 0.5, 0.125], dtype=torch.float64))
    whole = None if mirror is None else torch.tensor(mirror, dtype=torch.float64)
    found = _run(seen, 3, (trial, whole), ["2"])  # type: ignore[arg-type]
    run = found.run
    assert (run.id, run.act, run.regions, run.fill, run.seed, run.score) == ("r3", "hide", ("2",), "mean", 7, 0.25)
    assert run.contrast == (None if versus is None else -0.25) and run.mirrored == (mirror is not None)
    assert (found.winner, found.lead, found.over) == (1, 0.25, 0.25)
    assert found.whole == (None if mirror is None else (0.6, None if versus is None else 0.3))
