"""Every metric against its slow oracle, the contract of the table, and the properties its papers promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import metric_oracles as oracle
from saywhy.errors import ModelError, UsageError
from saywhy.intervene import FILLS, filler
from saywhy.metrics import (
    CONTROLS,
    METRICS,
    Case,
    Mean,
    Values,
    bootstrap,
    bootstrap_difference,
    box_masks,
    cascade,
    equalise,
    map_status,
    metric,
    pearson,
    reference,
    spearman,
    values_of,
)
from saywhy.metrics.controls import feature_sum_maps
from saywhy.metrics.curves import area, deletion_curve, insertion_curve, step_counts
from saywhy.metrics.faithfulness import average_drop, gain, increase, kept_scores, loss
from saywhy.metrics.localisation import epg, hit_rate, iou, nra, object_sizes, pck, pck_random, pointing
from saywhy.metrics.maps import keep_top, order
from saywhy.metrics.masking import how
from saywhy.metrics.sanity import label_randomisation, noise_stability, weight_randomisation
from saywhy.metrics.statistics import ranks

SIDE, CLASSES, COUNT = 16, 5, 6


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tiny(nn.Module):
    """Two convolutions and a head, weights from a seed, probabilities well away from 0 and 1."""

    def __init__(self, seed=0):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.head = nn.Linear(8, CLASSES)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.4)
            self.head.weight.mul_(3)
            self.head.bias.zero_()

    def features(self, x):
        return self.second(self.first(x).tanh()).tanh()

    def forward(self, x):
        return self.head(self.features(x * 2 - 1).mean((2, 3)))


NET = Tiny(1).eval()


def probabilities(images: Tensor) -> Tensor:
    return NET(images).softmax(1)


def cam(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Display maps of a plain class activation map."""
    with torch.no_grad():
        raw = torch.einsum("nkhw,nk->nhw", net.features(images * 2 - 1), net.head.weight[targets])
    low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
    shown = (raw - low) / (high - low).clamp_min(1e-9)
    return nn.functional.interpolate(shown[:, None], size=images.shape[2:], mode="bilinear")[:, 0].clamp(0, 1)


def explain(images: Tensor, targets: Tensor | None) -> Tensor:
    return cam(NET, images, targets)


def explain_with(net: nn.Module) -> Tensor:
    images, _ = scene()
    return cam(net, images, reference(probabilities, images).targets)


def scene(count=COUNT, seed=1):
    """Images (N, 3, 16, 16) of soft colour patches and display maps (N, 16, 16) without ties."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * torch.rand(count, 3, 1, 1, generator=generator)
    images = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear") if count else coarse
    places = torch.rand(count, SIDE * SIDE, generator=generator).argsort(1).reshape(count, SIDE, SIDE)
    return images, (places + 1) / (SIDE * SIDE)


def squares(count=COUNT):
    corners = torch.tensor([[2 + i, 3, 8 + i, 9 + i] for i in range(count)])
    return box_masks(corners, (SIDE, SIDE)), corners


def offered(which=slice(None)) -> dict[str, object]:
    """Every input that a row can ask for, of the chosen samples."""
    images, maps = scene()
    masks, corners = squares()
    chosen, shown = (torch.arange(COUNT) % CLASSES)[which], images[which]
    return {
        "probabilities": probabilities,
        "images": shown,
        "maps": maps[which],
        "targets": chosen,
        "masks": masks[which],
        "keypoints": torch.tensor([[4.5 + i, 6.0] for i in range(COUNT)])[which],
        "sizes": object_sizes(corners)[which],
        "explain": explain,
        "explain_with": lambda net: cam(net, shown, chosen),
        "net": NET,
        "classes": CLASSES,
    }


def measure(name: str, inputs: dict[str, object], **conventions: object) -> Tensor:
    row = METRICS[name]
    return row.function(**{key: inputs[key] for key in row.inputs}, **conventions)


def test_the_scene_has_drops_rises_and_several_predicted_classes():
    inputs = offered()
    assert 0 < (measure("ad50", inputs) > 1).sum() < COUNT
    assert measure("ic50", inputs).unique().tolist() == [0, 100]
    assert len(reference(probabilities, inputs["images"]).targets.unique()) > 1


# ------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_gives_one_float64_value_in_range_per_sample(name):
    values = measure(name, offered())
    assert values.shape == (COUNT,) and values.dtype == torch.float64
    defined = values[~values.isnan()]
    assert len(defined) == COUNT
    assert (defined >= METRICS[name].low - 1e-9).all() and (defined <= METRICS[name].high + 1e-9).all()


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_the_same_in_a_batch_and_one_by_one(name):
    together = measure(name, offered())
    alone = torch.cat([measure(name, offered(slice(i, i + 1))) for i in range(COUNT)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_deterministic_and_leaves_its_inputs_and_the_random_state_alone(name):
    inputs = offered()
    before = {key: value.clone() for key, value in inputs.items() if isinstance(value, Tensor)}
    weights = [weight.clone() for weight in NET.parameters()]
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = measure(name, inputs), measure(name, inputs)
    assert torch.equal(first, second)
    assert all(torch.equal(inputs[key], value) for key, value in before.items())
    assert all(torch.equal(a, b) for a, b in zip(NET.parameters(), weights, strict=True))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if "maps" in row.inputs])
def test_a_map_that_is_not_finite_has_no_value_and_the_others_keep_theirs(name):
    inputs = offered()
    intact = measure(name, inputs)
    maps = inputs["maps"].clone()
    maps[1, 3, 4] = torch.nan
    maps[4, 0, 0] = torch.inf
    values = Values().update(measure(name, {**inputs, "maps": maps}))
    assert values.undefined == 2 and math.isnan(values.samples[1]) and math.isnan(values.samples[4])
    others = [0, 2, 3, 5]
    torch.testing.assert_close(values.tensor()[others], intact[others], atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if "maps" in row.inputs])
def test_a_flat_map_gets_what_the_row_says(name):
    inputs = offered()
    flat = torch.full_like(inputs["maps"], 0.5)
    values = measure(name, {**inputs, "maps": flat})
    assert bool(values.isnan().all()) == (METRICS[name].flat == "undefined")
    assert map_status(flat) == ["flat"] * COUNT


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if "maps" in row.inputs])
def test_an_all_zero_map_wins_no_metric(name):
    row, inputs = METRICS[name], offered()
    empty = torch.zeros_like(inputs["maps"])
    values = measure(name, {**inputs, "maps": empty})
    assert map_status(empty) == ["empty"] * COUNT
    if row.kind == "faithfulness" or name in ("entropy", "gini"):
        assert values.isnan().all()
    elif name in ("epg", "iou", "mean-value"):
        assert (values == 0).all()
    else:
        assert torch.equal(values, measure(name, {**inputs, "maps": torch.ones_like(empty)}))


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if "explain" in row.inputs])
def test_a_method_that_answers_with_a_flat_map_has_no_correlation_and_is_counted(name):
    inputs = {**offered(), "explain": lambda images, targets: torch.ones(len(images), SIDE, SIDE)}
    assert Values().update(measure(name, inputs)).undefined == COUNT


@pytest.mark.parametrize("name", METRICS)
def test_each_row_says_how_to_read_it(name):
    row = METRICS[name]
    assert row.summary and row.source and row.low < row.high
    assert row.kind in ("faithfulness", "localisation", "sanity", "complexity")
    assert row.needs in ("model", "truth", "both", "map")
    assert ("masks" in row.inputs or "keypoints" in row.inputs) == (row.needs in ("truth", "both"))


@pytest.mark.parametrize("name", METRICS)
def test_no_samples_give_no_values(name):
    assert measure(name, offered(slice(0, 0))).shape == (0,)


def test_an_unknown_metric_is_an_error_that_names_the_nearest():
    with pytest.raises(UsageError, match="insertion"):
        metric("insertoin")
    assert metric("epg") is METRICS["epg"]


def test_raw_signed_maps_and_maps_of_another_size_are_errors():
    images, maps = scene()
    with pytest.raises(UsageError, match="display"):
        average_drop(probabilities, images, maps * 2 - 1)
    with pytest.raises(UsageError, match="do not fit images"):
        average_drop(probabilities, images, maps[:, :8])
    with pytest.raises(UsageError, match=r"\(N, H, W\)"):
        epg(maps[0], maps[0] > 0.5)
    with pytest.raises(UsageError, match="masks"):
        epg(maps, maps[:, :8] > 0.5)


# --------------------------------------------------------------------- average drop, increase, gain, ADCC


def plain_score(target: int):
    def score(image: np.ndarray) -> float:
        with torch.no_grad():
            return float(probabilities(torch.from_numpy(image)[None].float())[0, target].double())

    return score


FILLED = {
    "black": lambda image: np.zeros_like(image),
    "image-mean": lambda image: np.broadcast_to(image.mean((1, 2), keepdims=True), image.shape),
}


@pytest.mark.parametrize("fill", FILLED)
@pytest.mark.parametrize("nu", [100, 50, 15])
@pytest.mark.parametrize(
    ("name", "plain"),
    [("ad", oracle.average_drop), ("ic", oracle.increase), ("ag", oracle.average_gain)],
)
def test_drop_increase_and_gain_equal_the_oracle(name, plain, nu, fill):
    inputs = offered()
    values = measure(f"{name}{nu}", inputs, fill=fill)
    for i, value in enumerate(values.tolist()):
        image, heat = inputs["images"][i].double().numpy(), inputs["maps"][i].double().numpy()
        score = plain_score(int(inputs["targets"][i]))
        assert value == pytest.approx(plain(score, image, heat, nu, FILLED[fill](image)), abs=1e-3)


def test_drop_increase_and_gain_of_known_scores():
    p = torch.tensor([0.8, 0.5, 0.5, 0.5, 1.0, 0.0], dtype=torch.float64)
    q = torch.tensor([0.2, 0.75, 0.50004, 0.50006, 1.0, 0.1], dtype=torch.float64)
    assert loss(p, q)[:5].tolist() == pytest.approx([75, 0, 0, 0, 0])
    assert loss(p, q)[5].isnan(), "nothing can drop relative to a score of 0"
    assert loss(p, q, drop="absolute").tolist() == pytest.approx([60, 0, 0, 0, 0, 0])
    assert increase(p, q).tolist() == [0, 100, 0, 100, 0, 100]
    assert gain(p, q).tolist() == pytest.approx([0, 50, 0.008, 0.012, 0, 10])


@pytest.mark.parametrize("nu", [100, 50, 15])
def test_a_constant_map_has_drop_0_and_no_increase(nu):
    maps = CONTROLS["constant"](COUNT, (SIDE, SIDE))
    assert measure(f"ad{nu}", {**offered(), "maps": maps}).abs().max() < 1e-3
    assert measure(f"ic{nu}", {**offered(), "maps": maps}).sum() == 0


def test_float_noise_is_no_increase_in_confidence():
    images, _ = scene()
    maps = torch.ones(COUNT, SIDE, SIDE)
    calls = 0

    def trembling(batch):
        nonlocal calls
        calls += 1
        return (probabilities(batch) * (1 + 1e-5 * (calls - 1))).clamp_max(1)

    row = METRICS["ic100"]
    values = row.function(probabilities=trembling, images=images, maps=maps, targets=None)
    assert values.sum() == 0
    calls = 0
    strict = row.function(probabilities=trembling, images=images, maps=maps, targets=None, rise=0.0)
    assert strict.sum() == 100 * COUNT


def test_keep_top_keeps_values_of_exactly_that_share_and_of_ties():
    maps = torch.arange(1, 101).reshape(1, 10, 10) / 100
    kept = keep_top(maps, 15)
    assert (kept > 0).sum() == 15
    assert torch.equal(kept[kept > 0], maps[maps > 0.85])
    assert torch.equal(keep_top(maps, 100), maps)
    flat = torch.full((1, 10, 10), 0.3)
    assert torch.equal(keep_top(flat, 15), flat)
    with pytest.raises(UsageError, match="percentage"):
        keep_top(maps, 0)
    with pytest.raises(UsageError, match="percentage"):
        keep_top(maps, 150)


def test_masking_after_normalisation_is_masking_before_it_with_the_mean_colour():
    images, maps = scene()
    mean, std = torch.tensor([0.5, 0.4, 0.3]), 0.25

    def normalised(batch):
        return NET.head(NET.features(batch).mean((2, 3))).softmax(1)

    def inside(batch):
        return normalised((batch - mean[:, None, None]) / std)

    known = reference(inside, images)
    q = kept_scores(inside, images, maps, known, masking="after", mean=mean.tolist())
    direct = normalised((images - mean[:, None, None]) / std * maps[:, None])
    wanted = direct.gather(1, known.targets[:, None])[:, 0].detach().double()
    torch.testing.assert_close(q, wanted, atol=1e-6, rtol=0)
    same = kept_scores(inside, images, maps, known, fill=mean)
    torch.testing.assert_close(q, same, atol=1e-6, rtol=0)
    blurred = [kept_scores(inside, images, maps, known, fill="blur", masking=m) for m in ("before", "after")]
    assert torch.equal(*blurred)
    with pytest.raises(UsageError, match="mean"):
        kept_scores(inside, images, maps, known, masking="after")


def test_fills_can_be_names_colours_pictures_or_rules():
    images, maps = scene()
    everyone, kept = torch.arange(COUNT), (maps > 0.5).float()

    def behind(fill):
        return lambda index, kept: filler(images, *how({"fill": fill}))(index, kept).expand(len(index), 3, SIDE, SIDE)

    for name in FILLS:
        shown = behind(name)(everyone, kept)
        assert shown.shape == images.shape and shown.min() >= 0 and shown.max() <= 1
    assert behind("black")(everyone, kept).sum() == 0
    pictures = behind(images.flip(0))(everyone[2:4], kept[2:4])
    assert torch.equal(pictures, images.flip(0)[2:4])
    ruled = behind(lambda some, mask: some * mask[:, None])(everyone[1:2], kept[1:2])
    assert torch.equal(ruled, images[1:2] * kept[1:2, None])
    with pytest.raises(UsageError, match="fill"):
        how({"fill": "balck"})
    with pytest.raises(UsageError, match="does not fit"):
        behind(torch.zeros(7))(everyone, kept)
    with pytest.raises(UsageError, match="masking"):
        how({"masking": "during"})


def test_equalised_maps_all_have_one_distribution_and_keep_their_order():
    _, maps = scene()
    narrow, wide = maps**2, maps**0.5
    assert torch.equal(equalise(narrow), equalise(wide))
    values = equalise(torch.cat([maps, torch.ones_like(maps), (maps > 0.7).float()])).flatten(1).sort(1).values
    assert torch.equal(values, values[:1].expand_as(values))
    assert values.mean(1).tolist() == pytest.approx([0.5] * len(values))
    assert spearman(maps, equalise(maps)).tolist() == pytest.approx([1.0] * COUNT)


def test_area_moves_average_drop_but_not_its_equalised_variant():
    inputs = offered()
    narrow, wide = {**inputs, "maps": inputs["maps"] ** 2}, {**inputs, "maps": inputs["maps"] ** 0.5}
    assert measure("ad100", narrow).mean() > measure("ad100", wide).mean() + 1
    torch.testing.assert_close(measure("ad100-ranked", narrow), measure("ad100-ranked", wide))
    constant = {**inputs, "maps": torch.ones_like(inputs["maps"])}
    random = {**inputs, "maps": CONTROLS["random"](1, (SIDE, SIDE)).expand(COUNT, -1, -1)}
    torch.testing.assert_close(measure("ad50-ranked", constant), measure("ad50-ranked", random))


def test_adcc_equals_the_oracle():
    inputs = offered()
    values = measure("adcc", inputs)
    for i, value in enumerate(values.tolist()):
        image, heat = inputs["images"][i].double().numpy(), inputs["maps"][i].double().numpy()
        target = inputs["targets"][i : i + 1]
        again = explain(torch.from_numpy(image * heat)[None].float(), target)[0].double().numpy()
        black = np.zeros_like(image)
        assert value == pytest.approx(oracle.adcc(plain_score(int(target)), image, heat, again, black), abs=1e-5)


def test_targets_are_the_predicted_classes_unless_given():
    images, maps = scene()
    predicted = probabilities(images).argmax(1)
    free, asked = average_drop(probabilities, images, maps), average_drop(probabilities, images, maps, predicted)
    assert torch.equal(free, asked)
    other = average_drop(probabilities, images, maps, (predicted + 1) % CLASSES)
    assert not torch.allclose(free, other)


def test_a_scorer_of_one_asked_class_needs_no_targets():
    images, maps = scene()
    fixed = torch.full((COUNT,), 2)
    one = average_drop(lambda batch: probabilities(batch)[:, 2], images, maps)
    torch.testing.assert_close(one, average_drop(probabilities, images, maps, fixed))


def test_answers_that_are_no_probabilities_are_errors():
    images, maps = scene()
    with pytest.raises(UsageError, match="softmax"):
        average_drop(lambda batch: probabilities(batch) * 30 - 4, images, maps)
    with pytest.raises(ModelError, match="NaN"):
        average_drop(lambda batch: probabilities(batch) * torch.nan, images, maps)
    with pytest.raises(ModelError, match="must answer"):
        average_drop(lambda batch: probabilities(batch)[:1], images, maps)
    with pytest.raises(UsageError, match="targets"):
        average_drop(probabilities, images, maps, torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="targets"):
        average_drop(probabilities, images, maps, torch.full((COUNT,), CLASSES))
    with pytest.raises(UsageError, match="drop"):
        average_drop(probabilities, images, maps, drop="squared")


# -------------------------------------------------------------------------------- insertion and deletion


@pytest.mark.parametrize("steps", [1, 7, 32])
@pytest.mark.parametrize("name", ["insertion", "deletion"])
def test_insertion_and_deletion_equal_the_oracle(name, steps):
    inputs = offered()
    values = measure(name, inputs, fill="image-mean", steps=steps)
    for i, value in enumerate(values.tolist()):
        image, heat = inputs["images"][i].double().numpy(), inputs["maps"][i].double().numpy()
        score = plain_score(int(inputs["targets"][i]))
        points = oracle.curve(score, image, heat, FILLED["image-mean"](image), steps, name == "insertion")
        assert value == pytest.approx(oracle.area(points), abs=1e-6)


def test_curves_run_between_the_whole_image_and_the_bare_fill():
    images, maps = scene()
    known = reference(probabilities, images)
    rising = insertion_curve(probabilities, images, maps, known, steps=5, fill="image-mean")
    falling = deletion_curve(probabilities, images, maps, known, steps=5, fill="image-mean")
    assert rising.shape == falling.shape == (COUNT, 6)
    assert torch.equal(rising[:, -1], known.scores) and torch.equal(falling[:, 0], known.scores)
    torch.testing.assert_close(rising[:, 0], falling[:, -1], atol=1e-7, rtol=0)


def test_the_area_under_known_curves():
    assert area(torch.ones(1, 5), pixels=100).item() == pytest.approx(1)
    assert area(torch.linspace(0, 1, 11)[None], pixels=100).item() == pytest.approx(0.5)
    assert area(torch.tensor([[0.0, 1.0, 1.0]]), pixels=3).item() == pytest.approx(2 / 3, abs=1e-6)
    assert step_counts(2, 3).tolist() == [0, 2, 3]
    with pytest.raises(UsageError, match="steps"):
        step_counts(300, 256)


def test_the_map_of_what_a_linear_scorer_adds_up_beats_random_and_inverse_orders():
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) * 0.5 + 0.5
    weight = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(4)) ** 6
    weight = weight / weight.sum()

    def linear(batch):
        return (batch.mean(1) * weight).sum((1, 2))

    truth = images.mean(1) * weight
    truth = truth / truth.amax((1, 2), keepdim=True)
    scores = {
        name: METRICS["insertion-deletion"].function(
            probabilities=linear, images=images, maps=maps, targets=None, insertion_fill="black"
        )
        for name, maps in (
            ("truth", truth),
            ("random", CONTROLS["random"](4, (SIDE, SIDE))),
            ("inverse", 1 - truth),
        )
    }
    assert (scores["truth"] > scores["random"]).all() and (scores["random"] > scores["inverse"]).all()


def test_the_order_of_tied_pixels_does_not_favour_the_top_of_the_picture():
    places = order(torch.zeros(1, SIDE, SIDE)).argsort(1).double().reshape(SIDE, SIDE)
    halves = places[: SIDE // 2].mean(), places[SIDE // 2 :].mean()
    assert abs(halves[0] - halves[1]) < 0.35 * SIDE * SIDE
    grainy = torch.full((1, SIDE, SIDE), 0.5) + torch.rand(1, SIDE, SIDE) * 1e-9
    assert torch.equal(order(grainy), order(torch.full((1, SIDE, SIDE), 0.5)))


def test_batch_size_changes_no_answer():
    inputs = offered()
    for name in ("ad50", "insertion-deletion"):
        torch.testing.assert_close(
            measure(name, inputs, batch_size=1), measure(name, inputs, batch_size=50), atol=1e-4, rtol=0
        )


# ----------------------------------------------------------------------------------- all of them together

FAITHFUL = [name for name, row in METRICS.items() if row.kind == "faithfulness"]


def counting():
    """A classifier that notes how many images it was shown in all."""
    shown = []

    def counted(batch):
        shown.append(len(batch))
        return probabilities(batch)

    return counted, shown


def test_all_at_once_equals_one_by_one_and_shares_passes():
    inputs = offered()
    counted, shown = counting()
    values = values_of([*FAITHFUL, "mean-value"], Case({**inputs, "probabilities": counted}, {"steps": 8}))
    assert sum(shown) == COUNT * (1 + 3 + 3 + 2 * 8)
    for name, found in values.items():
        steps = {"steps": 8} if "steps" in METRICS[name].conventions else {}
        torch.testing.assert_close(found, measure(name, inputs, **steps), atol=1e-4, rtol=1e-6)


def test_the_conventions_of_an_evaluation_reach_every_metric_that_names_them():
    inputs, steps = offered(), {"steps": 5}
    case = Case(inputs, {"fill": "mean", "insertion_fill": "inpaint", "drop": "absolute", "batch_size": 3, **steps})
    values = values_of(["ad50", "insertion", "deletion", "insertion-deletion", "adcc"], case)
    direct = {
        "ad50": measure("ad50", inputs, fill="mean", drop="absolute"),
        "insertion": measure("insertion", inputs, fill="inpaint", **steps),
        "deletion": measure("deletion", inputs, fill="mean", **steps),
        "insertion-deletion": measure("insertion-deletion", inputs, fill="mean", insertion_fill="inpaint", **steps),
        "adcc": measure("adcc", inputs, fill="mean"),
    }
    for name, expected in direct.items():
        torch.testing.assert_close(values[name], expected, atol=1e-4, rtol=1e-6)


def test_methods_share_the_whole_images_and_unusable_maps_cost_no_pass():
    images, maps = scene()
    known = reference(probabilities, images)
    maps[0] = torch.nan
    maps[1] = 0
    counted, shown = counting()
    inputs = {"probabilities": counted, "images": images, "maps": maps, "targets": None, "known": known}
    case = Case(inputs, {"steps": 4, "fill": images.flip(3)})
    values = values_of(["ad50", "ic50", "ag50", "ad50-ranked", "insertion", "deletion", "insertion-deletion"], case)
    assert sum(shown) == (COUNT - 2) * (2 + 2 * 4)
    for name in values:
        assert values[name].isnan().tolist() == [True, True, False, False, False, False], name


@pytest.mark.parametrize("name", METRICS)
def test_a_row_says_what_it_costs_beside_the_whole_image(name):
    row, inputs = METRICS[name], offered()
    counted, shown = counting()
    known = reference(probabilities, inputs["images"], inputs["targets"])
    values_of([name], Case({**inputs, "probabilities": counted, "known": known}, {"steps": 8}))
    said = int(row.passes.split(",")[0].split()[0])
    assert sum(shown) == COUNT * said * (8 if row.passes.endswith("a step") else 1)
    assert ("map" in row.passes) == bool({"explain", "explain_with"} & set(row.inputs))


def test_a_metric_whose_input_is_not_there_is_an_error_that_lists_what_is():
    with pytest.raises(UsageError, match=r"epg lists the input 'masks'; what can be had here is maps"):
        values_of(["epg"], Case({"maps": scene()[1]}))


# ------------------------------------------------------------------------------------------ localisation


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("epg", oracle.epg),
        ("pointing", lambda heat, mask: oracle.pointing(heat, mask, 0)),
        ("iou", lambda heat, mask: oracle.iou(heat, mask, 0.5)),
        ("nra-published", lambda heat, mask: oracle.nra(heat, mask, True)),
    ],
)
def test_localisation_metrics_equal_the_oracle(name, plain):
    inputs = offered()
    values = measure(name, inputs)
    for i, value in enumerate(values.tolist()):
        assert value == pytest.approx(plain(inputs["maps"][i].double().numpy(), inputs["masks"][i].numpy()), abs=1e-9)


def test_exact_nra_equals_a_chance_level_measured_by_shuffling():
    _, maps = scene(2)
    masks, _ = squares(2)
    heat = (maps + masks.float() * 0.5) / 1.5
    for i, value in enumerate(nra(heat, masks).tolist()):
        slow = oracle.nra(heat[i].double().numpy(), masks[i].numpy(), False, np.random.default_rng(i))
        assert value == pytest.approx(slow, abs=0.01)


@pytest.mark.parametrize(("ratio", "floor"), [(0.01, 0.09), (0.04, 0.13), (0.1, 0.14), (0.2, 0.15), (0.4, 0.17)])
def test_a_random_map_scores_0_in_exact_nra_and_a_floor_in_the_published_one(ratio, floor):
    generator = torch.Generator().manual_seed(7)
    masks = torch.zeros(1, 56 * 56, dtype=torch.bool)
    masks[0, : round(ratio * 56 * 56)] = True
    masks = masks.reshape(1, 56, 56).expand(150, -1, -1)
    maps = torch.rand(150, 56, 56, generator=generator)
    assert abs(float(nra(maps, masks).mean())) <= 0.01
    assert float(nra(maps, masks, chance="published").mean()) == pytest.approx(floor, abs=0.015)


@pytest.mark.parametrize("chance", ["exact", "published"])
def test_nra_of_perfect_inverse_and_flat_maps(chance):
    masks, _ = squares()
    perfect = masks.float() * 0.9
    assert nra(perfect, masks, chance=chance).tolist() == pytest.approx([1.0] * COUNT)
    assert hit_rate(perfect, masks, chance=chance).tolist() == [1.0] * COUNT
    inverse, flat = nra(1 - perfect, masks, chance=chance), nra(torch.ones_like(perfect), masks, chance=chance)
    if chance == "exact":
        assert (inverse < -0.1).all() and flat.abs().max() < 1e-9
    else:
        assert (inverse == 0).all() and (flat > 0.03).all()


def test_truth_that_marks_nothing_or_everything_has_no_region_accuracy():
    _, maps = scene(2)
    masks = torch.stack([torch.zeros(SIDE, SIDE), torch.ones(SIDE, SIDE)]).bool()
    assert nra(maps, masks).isnan().all() and hit_rate(maps, masks).isnan().all()
    assert epg(maps, masks)[0].isnan() and epg(maps, masks)[1] == 1
    assert pointing(maps, masks)[0].isnan() and iou(maps, masks)[0].isnan()
    with pytest.raises(UsageError, match="chance"):
        nra(maps, masks, chance="low")


def test_epg_of_boxes_takes_x_for_columns_and_y_for_rows():
    masks = box_masks(torch.tensor([[2, 0, 6, 3]]), (8, 10))
    assert masks.shape == (1, 8, 10) and masks.sum() == 12 and masks[0, :3, 2:6].all()
    maps = torch.zeros(1, 8, 10)
    maps[0, 1, 5] = 1.0
    maps[0, 5, 1] = 0.5
    assert epg(maps, masks).item() == pytest.approx(2 / 3)
    assert epg(torch.zeros(1, 8, 10), masks).item() == 0
    assert epg(torch.ones(1, 8, 10), masks).item() == pytest.approx(12 / 80)
    raised = (maps + 0.25) / 1.25
    assert epg(raised, masks).item() == pytest.approx(2 / 3, abs=1e-6)
    assert epg(raised, masks, normalise="none").item() < 2 / 3
    with pytest.raises(UsageError, match="boxes"):
        box_masks(torch.zeros(4), (8, 8))


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 4, 40])
def test_the_pointing_game_with_tolerance_equals_the_oracle(tolerance):
    _, maps = scene(24, seed=11)
    masks = squares(COUNT)[0].repeat(4, 1, 1)
    values = pointing(maps, masks, tolerance=tolerance)
    wanted = [oracle.pointing(m.numpy(), k.numpy(), tolerance) for m, k in zip(maps, masks, strict=True)]
    assert values.tolist() == wanted
    with pytest.raises(UsageError, match="tolerance"):
        pointing(maps, masks, tolerance=-1)


def test_tied_highest_pixels_count_by_their_share():
    masks, corners = squares(1)
    maps = torch.zeros(1, SIDE, SIDE)
    maps[0, 4, 4] = maps[0, 4, 5] = maps[0, 15, 15] = maps[0, 14, 0] = 1.0
    assert pointing(maps, masks).item() == 0.5
    flat = torch.ones(1, SIDE, SIDE)
    assert pointing(flat, masks).item() == pytest.approx(float(masks.double().mean()))
    point = torch.tensor([[4.5, 4.5]])
    assert pck(maps, point, object_sizes(corners), alpha=0.3).item() == 0.5


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.3, 1.0])
def test_pck_equals_the_oracle(alpha):
    _, maps = scene(20, seed=5)
    generator = torch.Generator().manual_seed(9)
    points, sizes = torch.rand(20, 2, generator=generator) * SIDE, torch.full((20,), 11.0)
    values = pck(maps, points, sizes, alpha=alpha)
    wanted = [oracle.pck(m.numpy(), p.tolist(), 11.0, alpha) for m, p in zip(maps, points, strict=True)]
    assert values.tolist() == wanted


def test_pck_has_no_value_without_a_keypoint_and_refuses_shapes_that_do_not_fit():
    _, maps = scene(2)
    points = torch.tensor([[torch.nan, torch.nan], [3.0, 3.0]])
    assert pck(maps, points, torch.tensor([9.0, 9.0])).isnan().tolist() == [True, False]
    assert pck(maps, points.nan_to_num(1), torch.tensor([9.0, 0.0])).isnan().tolist() == [False, True]
    with pytest.raises(UsageError, match="PCK"):
        pck(maps, points[:1], torch.tensor([9.0, 9.0]))


@pytest.mark.parametrize(("alpha", "published"), [(0.1, 3.1), (0.2, 12.6), (0.3, 28.3)])
def test_the_random_baseline_of_pck_is_the_papers_where_the_point_is_inside_the_box(alpha, published):
    boxes, point = torch.tensor([[20, 20, 220, 220]]), torch.tensor([[120.0, 120.0]])
    assert 100 * pck_random(point, boxes, (240, 240), alpha=alpha).item() == pytest.approx(published, abs=0.1)
    corner = torch.tensor([[20.0, 20.0]])
    quarter = 100 * pck_random(corner, boxes, (240, 240), alpha=alpha).item()
    assert quarter == pytest.approx(published / 4, abs=0.1)


def test_iou_of_known_maps():
    masks, _ = squares(1)
    assert iou(masks.float(), masks).item() == 1
    assert iou(torch.zeros(1, SIDE, SIDE), masks).item() == 0
    assert iou(torch.ones(1, SIDE, SIDE), masks).item() == pytest.approx(float(masks.double().mean()))
    with pytest.raises(UsageError, match="threshold"):
        iou(masks.float(), masks, threshold=0)


# ------------------------------------------------------------------------------------ complexity, controls


@pytest.mark.parametrize(("name", "plain"), [("entropy", oracle.entropy), ("gini", oracle.gini)])
def test_complexity_equals_the_oracle(name, plain):
    inputs = offered()
    for value, heat in zip(measure(name, inputs).tolist(), inputs["maps"].double().numpy(), strict=True):
        assert value == pytest.approx(plain(heat), abs=1e-9)


def test_complexity_of_a_flat_map_and_of_a_single_pixel():
    flat, single = torch.full((1, 4, 4), 0.25), torch.zeros(1, 4, 4)
    single[0, 1, 2] = 0.7
    assert METRICS["entropy"].function(maps=flat).item() == pytest.approx(1)
    assert METRICS["entropy"].function(maps=single).item() == 0
    assert METRICS["gini"].function(maps=flat).item() == pytest.approx(0)
    assert METRICS["gini"].function(maps=single).item() == pytest.approx(15 / 16)
    assert METRICS["mean-value"].function(maps=flat).item() == 0.25


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_display_maps_of_the_asked_size(name):
    maps = CONTROLS[name](3, (20, 30))
    assert maps.shape == (3, 20, 30) and maps.dtype == torch.float32
    assert maps.min() >= 0 and maps.max() == 1
    with pytest.raises(UsageError, match="size"):
        CONTROLS[name](3, (0, 30))


def test_random_control_maps_depend_on_seed_and_place_not_on_the_batch():
    size = (20, 30)
    whole = CONTROLS["random"](5, size, seed=3)
    assert torch.equal(whole[2:4], CONTROLS["random"](2, size, seed=3, first=2))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, CONTROLS["random"](5, size, seed=4))


def test_the_centre_control_points_at_the_centre():
    maps = CONTROLS["centre"](1, (21, 31))
    assert maps[0].argmax().item() == 10 * 31 + 15
    torch.testing.assert_close(maps, maps.flip(2))


def test_the_constant_pdf_baseline_sums_all_features():
    features = torch.zeros(2, 4, 5, 5)
    features[0, :, 1, 2] = 1.0
    maps = feature_sum_maps(features, (25, 25))
    assert maps.shape == (2, 25, 25) and divmod(int(maps[0].argmax()), 25) == (7, 12)
    assert map_status(maps) == ["ok", "empty"]


# ------------------------------------------------------------------------------------------------- sanity


def test_a_cascade_goes_from_the_top_down_and_leaves_the_network_alone():
    before = [weight.clone() for weight in NET.parameters()]
    result = cascade(NET, explain_with, stages=None)
    assert result.stages == ("head", "second", "first")
    assert result.correlations.shape == (3, COUNT) and result.undefined == 0
    assert all(torch.equal(a, b) for a, b in zip(NET.parameters(), before, strict=True))
    assert torch.equal(result.correlations[-1], weight_randomisation(NET, explain_with))
    assert (result.correlations.abs() < 0.999).all()


def test_each_stage_randomises_what_lies_above_and_nothing_below():
    seen = []

    def spy(net):
        seen.append({name: weight.clone() for name, weight in net.named_parameters()})
        return explain_with(net)

    cascade(NET, spy, stages=None)
    changed = [{name.split(".")[0] for name in state if not torch.equal(state[name], seen[0][name])} for state in seen]
    assert changed == [set(), {"head"}, {"head", "second"}, {"head", "second", "first"}]
    for name, weight in seen[0].items():
        assert torch.equal(weight.flatten().sort().values, seen[-1][name].flatten().sort().values)


def test_a_method_that_ignores_the_network_fails_weight_randomisation():
    _, maps = scene()
    assert weight_randomisation(NET, lambda net: maps).tolist() == pytest.approx([1.0] * COUNT)
    assert weight_randomisation(NET, explain_with, redraw="normal").abs().mean() < 0.9


def test_cascade_options_are_checked():
    with pytest.raises(UsageError, match="redraw"):
        cascade(NET, explain_with, redraw="zero")
    with pytest.raises(UsageError, match="layer"):
        cascade(NET, explain_with, layers=["third"])
    with pytest.raises(UsageError, match="parameters"):
        cascade(nn.ReLU(), lambda net: torch.rand(1, 4, 4))
    assert cascade(NET, explain_with, layers=["head"]).stages == ("head",)
    assert cascade(NET, explain_with, stages=2).stages == ("second", "first")


def test_shared_weights_are_randomised_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4, bias=False)
            self.b = nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

    states = []
    net = Twice()
    cascade(net, lambda n: states.append(n.a.weight.clone()) or torch.rand(1, 3, 3), layers=["b", "a"], stages=None)
    assert not torch.equal(states[0], states[1]) and torch.equal(states[1], states[2])


def test_a_class_blind_method_fails_label_randomisation():
    images, maps = scene()
    targets = reference(probabilities, images).targets
    blind = label_randomisation(lambda x, t: maps[: len(x)], images, targets, classes=CLASSES)
    assert blind.tolist() == pytest.approx([1.0] * COUNT)
    own = label_randomisation(explain, images, targets, classes=CLASSES, draws=3)
    assert (own < 0.999).all()


def test_label_randomisation_never_compares_a_class_with_itself():
    asked = []

    def spy(images, targets):
        asked.append(targets.clone())
        return torch.rand(len(images), 4, 4, generator=torch.Generator().manual_seed(0))

    targets = torch.tensor([0, 1, 2, 1, 0])
    label_randomisation(spy, torch.zeros(5, 3, 4, 4), targets, classes=3, draws=6)
    for others in asked[1:]:
        assert (others != targets).all() and others.min() >= 0 and others.max() < 3
    with pytest.raises(UsageError, match="2 or more"):
        label_randomisation(spy, torch.zeros(5, 3, 4, 4), targets, classes=1)


def test_stability_falls_with_the_noise_and_is_1_for_a_method_that_ignores_the_image():
    images, maps = scene()
    targets = reference(probabilities, images).targets
    little, much = (noise_stability(explain, images, targets, sigma=s) for s in (0.01, 0.5))
    assert (little > 0.9).all() and little.mean() > much.mean()
    assert noise_stability(lambda x, t: maps[: len(x)], images, targets).tolist() == pytest.approx([1.0] * COUNT)
    assert not torch.equal(little, noise_stability(explain, images, targets, sigma=0.01, seed=1))
    with pytest.raises(UsageError, match="sigma"):
        noise_stability(explain, images, targets, sigma=0)


# ------------------------------------------------------------------------------- statistics, running values


def test_correlations_equal_the_oracle_with_ties():
    generator = torch.Generator().manual_seed(2)
    first, second = torch.randint(0, 6, (8, 5, 5), generator=generator), torch.rand(8, 5, 5, generator=generator)
    for i in range(8):
        a, b = first[i].flatten().tolist(), second[i].flatten().tolist()
        assert pearson(first, second)[i].item() == pytest.approx(oracle.pearson(a, b))
        assert spearman(first, second)[i].item() == pytest.approx(oracle.spearman(a, b))
        assert ranks(first)[i].tolist() == oracle.average_ranks(a)


def test_correlations_of_flat_or_broken_rows_are_undefined():
    rows = torch.tensor([[1.0, 2, 3], [5, 5, 5], [1, torch.nan, 2], [1, torch.inf, 2]])
    other = torch.tensor([[3.0, 2, 1]] * 4)
    assert pearson(rows, other).isnan().tolist() == [False, True, True, True]
    assert spearman(rows, other).isnan().tolist() == [False, True, True, True]
    assert spearman(rows, other)[0] == -1
    with pytest.raises(UsageError, match="equal shapes"):
        spearman(rows, other[:2])
    with pytest.raises(UsageError, match="equal shapes"):
        pearson(rows, other[:2])


@pytest.mark.parametrize("cut", [0, 1, 7, 40])
def test_merged_parts_equal_the_whole(cut):
    values = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values[[3, 20]] = torch.nan
    for kind in (Mean, Values):
        whole = kind().update(values)
        merged = kind().update(values[:cut]).merge(kind().update(values[cut:]))
        assert merged.value() == pytest.approx(whole.value(), abs=1e-12)
        assert merged.undefined == whole.undefined == 2
    mean = Mean().update(values[:cut]).merge(Mean().update(values[cut:]))
    defined = values[~values.isnan()]
    assert mean.value() == pytest.approx(defined.mean().item())
    assert mean.error() == pytest.approx(defined.std().item() / math.sqrt(38))


def test_without_a_defined_sample_there_is_no_mean():
    nothing = torch.full((3,), torch.nan)
    for kind in (Mean, Values):
        assert math.isnan(kind().value()) and math.isnan(kind().update(nothing).value())
        assert kind().update(nothing).undefined == 3
    assert math.isnan(Mean().update(torch.ones(1)).error())
    assert math.isnan(Values().interval().mean)
    with pytest.raises(UsageError, match="one value per sample"):
        Mean().update(torch.ones(2, 2))


def test_bootstrap_intervals_are_seeded_and_leave_undefined_samples_out():
    values = torch.randn(60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, again = bootstrap(values, seed=5), bootstrap(values, seed=5)
    assert first == again and first != bootstrap(values, seed=6)
    assert first.low < first.mean < first.high and first.count == 60
    half = 1.96 * values.std().item() / math.sqrt(60)
    assert first.high - first.low == pytest.approx(2 * half, rel=0.2)
    with_gap = torch.cat([values, torch.tensor([torch.nan])])
    assert bootstrap(with_gap, seed=5) == first
    single = bootstrap(torch.tensor([2.0]))
    assert single.mean == 2 and math.isnan(single.low) and single.count == 1
    with pytest.raises(UsageError, match="level"):
        bootstrap(values, level=1.5)


def test_a_paired_difference_is_narrower_than_the_difference_of_two_means():
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(80, generator=generator, dtype=torch.float64)
    better = shared + 0.2 + 0.05 * torch.randn(80, generator=generator, dtype=torch.float64)
    gap = bootstrap_difference(better, shared)
    assert gap.low > 0.15 and gap.high < 0.25
    shared[0] = torch.nan
    assert bootstrap_difference(better, shared).count == 79
    with pytest.raises(UsageError, match="paired"):
        bootstrap_difference(better, shared[:5])
