"""Networks as people have them: what they return, what is wrapped around them, what cannot be read inside them."""

import collections
import dataclasses
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import saywhy
import tiny
from saywhy.classifier import Classifier
from saywhy.errors import ModelError, SaywhyError, UsageError
from saywhy.image import Preprocess
from saywhy.outputs import map_tensors
from saywhy.passes import counting
from saywhy.saliency import saliency
from saywhy.seen import BLACK_BOX_MASKS, attend, tapped
from saywhy.wrappers import OneByOne

PHOTO = np.ascontiguousarray((tiny.images(1, seed=3)[0] * 255).byte().permute(1, 2, 0).numpy())
SCORES, FEATURES = tiny.CLASSES, 8


class Shaped(tiny.Cnn):
    """Answers in a form of its own: `form(features, pooled, scores)`."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        f = self.features(x)
        pooled = f.mean(dim=(2, 3))
        return self.form(f, pooled, self.head(pooled))


def shaped(form, **settings):
    torch.manual_seed(0)
    return tiny.classifier(tiny.lively(Shaped(form)).eval(), **settings)


Named = collections.namedtuple("Named", "pooled logits")
Unnamed = collections.namedtuple("Unnamed", "first second")


@dataclasses.dataclass
class Fields:
    embedding: torch.Tensor
    prediction: torch.Tensor


CLEAR = {
    "a tensor": lambda f, p, s: s,
    "(scores, None)": lambda f, p, s: (s, None),
    "(maps, scores)": lambda f, p, s: (f, s),
    "a list of one": lambda f, p, s: [s],
    "a named tuple": lambda f, p, s: Named(p, s),
    "a dict with logits": lambda f, p, s: {"pooled": p, "logits": s},
    "a dict with one": lambda f, p, s: {"anything": s, "loss": None},
    "a dict with a number": lambda f, p, s: {0: s},
    "a defaultdict": lambda f, p, s: collections.defaultdict(list, {"prediction": s}),
    "(N, C, 1, 1)": lambda f, p, s: s[:, :, None, None],
}
ASKED = {
    "(pooled, scores)": (lambda f, p, s: (p, s), 1),
    "[pooled, scores]": (lambda f, p, s: [p, s], -1),
    "a dict": (lambda f, p, s: {"pooled": p, "classes": s}, "classes"),
    "numbers": (lambda f, p, s: {0: p, 1: s}, 1),
    "a named tuple": (lambda f, p, s: Unnamed(p, s), "second"),
    "a dataclass": (lambda f, p, s: Fields(p, s), "prediction"),
    "an object": (lambda f, p, s: types.SimpleNamespace(embedding=p, prediction=s), "prediction"),
    "nested": (lambda f, p, s: ((p,), (s,)), 1),
}


def assert_whole(clf):
    """The scores are the classes', and maps, gradients and replays are had of them."""
    x = tiny.images(2)
    plain = shaped(CLEAR["a tensor"])
    assert torch.allclose(clf.logits(x), plain.logits(x), atol=1e-5)
    assert torch.allclose(saliency(clf, x, 2).raw, saliency(plain, x, 2).raw, atol=1e-5)
    tap = clf.tap(x)
    assert torch.allclose(tap.replay(tap.maps()), plain.logits(x), atol=1e-4)


@pytest.mark.parametrize("form", CLEAR)
def test_scores_are_found_in_outputs_in_which_one_alone_could_be_meant(form):
    assert_whole(shaped(CLEAR[form]))


@pytest.mark.parametrize("form", ASKED)
def test_where_several_outputs_could_be_the_scores_the_key_is_asked_for(form):
    make, key = ASKED[form]
    with pytest.raises(UsageError, match="scores_from=") as told:
        shaped(make).logits(tiny.images(1))
    assert str(SCORES) in str(told.value) or "tuple" in str(told.value)  # the shapes are shown
    assert_whole(shaped(make, scores_from=key))
    assert_whole(shaped(make, classes=[f"c{i}" for i in range(SCORES)]))  # one has as many scores as there are names
    with pytest.raises(UsageError, match="known"):
        shaped(make, scores_from="nothing").logits(tiny.images(1))


def test_the_key_is_an_option_of_every_loader_and_a_callable_may_answer_with_arrays():
    def answer(images):
        return {"pooled": np.ones((len(images), 9), np.float32), "p": images.mean((2, 3)).numpy()}

    assert saywhy.load_classifier(answer, size=32, scores_from="p").logits(tiny.images(2)).shape == (2, 3)
    net = shaped(ASKED["(pooled, scores)"][0]).net
    names = [f"c{i}" for i in range(SCORES)]
    assert saywhy.load_classifier(net, size=32, classes=names).logits(tiny.images(2)).shape == (2, SCORES)
    with pytest.raises(UsageError, match="scores_from"):
        saywhy.load_classifier(net, size=32, scores_from=1.5)


@pytest.mark.parametrize("value", [{0: 1, "a": 2}, collections.OrderedDict(a=1), collections.defaultdict(list, {3: 1})])
def test_dicts_keep_their_type_and_keys(value):
    tensors = type(value)(value) if not isinstance(value, collections.defaultdict) else value.copy()
    for key in value:
        tensors[key] = torch.full((1,), float(value[key]))
    twice = map_tensors(lambda t: t * 2, tensors)
    assert type(twice) is type(value) and list(twice) == list(value)
    assert [float(t) for t in twice.values()] == [2.0 * v for v in value.values()]
    assert [float(t) for t in tensors.values()] == list(value.values())


# --------------------------------------------------------------------------------------------------
# Nothing to read inside.


def cnn():
    return tiny.build("cnn")


def exported():
    grow = {0: torch.export.Dim("n", min=1, max=256)}
    return torch.export.export(cnn(), (tiny.images(2),), dynamic_shapes=(grow,))


class Detached(tiny.Cnn):
    def forward(self, x):
        return self.head(self.features(x).mean(dim=(2, 3)).detach())


class Quiet(tiny.Cnn):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def quantised():
    return torch.ao.quantization.quantize_dynamic(cnn(), {nn.Linear})


BLIND = {
    "mlp": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(3 * tiny.SIDE**2, 16), nn.ReLU(), nn.Linear(16, SCORES)
    ).eval(),
    "traced": lambda: torch.jit.trace(cnn(), tiny.images(2)),
    "scripted": lambda: torch.jit.script(cnn()),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(cnn())),
    "exported": exported,
    "its module": lambda: exported().module(),
    "detached": lambda: tiny.lively(Detached()).eval(),
    "int8": quantised,
}


@pytest.mark.parametrize("kind", BLIND)
def test_a_network_that_cannot_be_read_is_asked_for_its_scores_and_the_record_says_so(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of what it will no longer have
        clf = tiny.classifier(BLIND[kind]())
        with counting() as meter:
            found = saywhy.explain(clf, PHOTO)
    assert found.saliency.method == "rise" and found.model.layer is None
    assert "only its scores" in found.model.layer_reason
    assert meter.forward_passes > BLACK_BOX_MASKS
    assert torch.isfinite(saliency(clf, tiny.images(2), method="occlusion").raw).all()
    for asked in (lambda: saliency(clf, tiny.images(1)), lambda: clf.point):
        with pytest.raises(UsageError, match=r"rise, occlusion"):
            asked()


class Keyed(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return {"logits": self.net(x), "hidden": (Named(x, x), None)}


def test_a_network_whose_int8_scales_depend_on_the_batch_is_asked_one_by_one():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = quantised()
    images = tiny.images(3) * torch.tensor([0.1, 0.5, 1.0])[:, None, None, None]
    alone = torch.cat([net(image) for image in images.split(1)])
    assert not torch.equal(net(images), alone), "alone and beside others its answers differ"
    clf = saywhy.load_classifier(net, size=tiny.SIDE)
    assert torch.equal(clf.logits(images), torch.cat([clf.logits(image) for image in images.split(1)]))
    assert any("one image at a time" in note for note in clf.notes)
    assert torch.equal(OneByOne(Keyed(net))(images)["logits"], OneByOne(net)(images))
    assert saywhy.explain(clf, PHOTO, fast=True).saliency.method == "rise"


def test_a_forward_under_no_grad_has_gradients_all_the_same():
    torch.manual_seed(0)
    net = tiny.lively(Quiet()).eval()
    plain = tiny.Cnn().eval()
    plain.load_state_dict(net.state_dict())
    x = tiny.images(2)
    expected = saliency(tiny.classifier(plain), x, 1).raw
    assert torch.allclose(saliency(tiny.classifier(net), x, 1).raw, expected, atol=1e-6)


def test_compiled_and_parallel_networks_are_taken_as_they_were_written():
    plain = tiny.classifier(cnn())
    expected = saliency(plain, tiny.images(2), 1).raw
    inside = cnn()
    inside.conv1 = torch.compile(inside.conv1, backend="eager")
    called = torch.compile(cnn(), backend="eager")
    called(tiny.images(1))
    own = cnn()
    own.compile(backend="eager")
    nets = [torch.compile(cnn(), backend="eager"), called, own, inside, nn.DataParallel(cnn())]
    for net in nets:
        clf = tiny.classifier(net)
        assert clf.point.path == plain.point.path
        assert torch.allclose(saliency(clf, tiny.images(2), 1).raw, expected, atol=1e-6)
    assert tiny.classifier(nets[0]).fingerprint == plain.fingerprint
    assert tiny.classifier(nets[0], layer="conv2").point.path == "conv2"


# --------------------------------------------------------------------------------------------------
# The first method that can.


class Windows(tiny.Vit):
    """A class token, and a first block that attends in two halves: rollout, which would lead, cannot."""

    def forward(self, x):
        x = (self.patch(x) + self.place).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1)
        x = torch.cat([self.blocks[0](x[:, :9]), self.blocks[0](x[:, 9:])], dim=1)
        return self.head(self.norm(self.blocks[2](self.blocks[1](x)))[:, 0])


def test_without_a_method_the_next_one_leads_where_the_first_cannot_and_the_record_says_why():
    torch.manual_seed(0)
    clf = tiny.classifier(tiny.lively(Windows()).eval())
    tap = tapped(clf, tiny.images(1))
    assert clf.point.grid.prefix > 0
    steps = []
    found = attend(tap, 1, tell=steps.append)
    assert found.method == "grad-cam" and steps == ["looking where: attention-rollout", "looking where: grad-cam"]
    assert "attention-rollout cannot serve this network" in found.why and "so grad-cam leads" in found.why
    record = saywhy.explain(clf, PHOTO)
    assert record.saliency.method == "grad-cam" and "so grad-cam leads" in record.model.layer_reason
    with pytest.raises(UsageError, match="grad-cam"):  # who asks for it is told
        saywhy.explain(clf, PHOTO, method="attention-rollout")


# --------------------------------------------------------------------------------------------------
# Formats, targets, inputs.


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_networks_of_any_float_are_explained_whatever_torchs_default_is(dtype, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = saywhy.explain(tiny.classifier(cnn().to(dtype)), PHOTO)
    finally:
        torch.set_default_dtype(before)
    assert found.saliency.method == "grad-cam" and found.statements


@pytest.mark.parametrize("model", ["cnn", "vit"])
def test_callers_under_autocast_are_served_and_maps_are_float32(model):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(2)
    plain = saliency(clf, x, 1)
    with torch.autocast("cpu", torch.bfloat16):
        maps, found = saliency(clf, x, 1), saywhy.explain(clf, PHOTO)
    assert maps.raw.dtype == torch.float32 and found.statements
    assert torch.allclose(maps.raw, plain.raw, atol=0.1 * float(plain.raw.abs().max()))


def test_a_network_without_weights_is_refused_with_the_way_out():
    for load in (tiny.classifier, saywhy.load_classifier, lambda net: saywhy.load_classifier(net, device="cpu")):
        with pytest.raises(UsageError, match="to_empty"):
            load(cnn().to("meta"))


@pytest.mark.parametrize("cut", [
    lambda s: s.detach()[:, 0], lambda s: torch.zeros(len(s)), lambda s: torch.tensor(s.detach().numpy()[:, 0]),
])  # fmt: skip
def test_a_target_that_is_cut_off_from_the_scores_is_wrong_usage_where_gradients_are_needed(cut):
    clf, x = tiny.classifier(tiny.Cnn().eval()), tiny.images(2, seed=1)
    for method in ("grad-cam", "grad-cam++", "hires-cam", "layer-cam"):
        with pytest.raises(UsageError, match="cuts its result off"):
            saliency(clf, x, cut, method=method)
    assert saliency(clf, x, cut, method="rise").raw.shape[0] == 2, (
        "asked without gradients, it is a number as any other"
    )
    with pytest.raises(UsageError, match="cuts its result off"):
        saliency(tiny.classifier(tiny.Vit().eval()), x, cut, method="legrad")


def test_a_list_is_no_layer():
    with pytest.raises(UsageError, match=r"one layer.*layers=\["):
        Classifier(tiny.Cnn().eval(), layer=["conv1", "conv2"])
    with pytest.raises(UsageError, match="one layer"):
        saywhy.load_classifier(tiny.Cnn().eval(), layer=("conv1",), size=32)


def test_numpy_numbers_and_arrays_name_classes():
    clf, x = tiny.classifier(cnn()), tiny.images(2)
    assert torch.equal(saliency(clf, x, np.int64(3)).raw, saliency(clf, x, 3).raw)
    assert torch.equal(saliency(clf, x, np.array([3, 1])).raw, saliency(clf, x, [3, 1]).raw)
    assert saywhy.explain(clf, PHOTO, np.argmax([0, 2, 1])).target.class_index == 1
    with pytest.raises(UsageError, match="3 targets for 2 images"):
        saliency(clf, x, np.array([3, 1, 2]))


class Measures(tiny.Cnn):
    """A quantity, no class."""

    def forward(self, x):
        return 37 + self.features(x).mean(dim=(1, 2, 3))


def test_a_measured_quantity_is_no_probability_and_is_explained_by_a_callable():
    clf = tiny.classifier(tiny.lively(Measures()).eval(), activation="none")
    with pytest.raises(UsageError, match="lambda scores"):
        saywhy.explain(clf, PHOTO)
    assert saliency(clf, tiny.images(1), lambda scores: scores[:, 0]).status == ("ok",)


@pytest.mark.parametrize(
    ("first", "takes"),
    [
        (nn.Conv2d(1, 8, 3), "1 channels"),
        (nn.Conv2d(4, 8, 3), "4 channels"),
        (nn.Conv3d(3, 8, 3), "volumes of 3 channels"),
    ],
)
def test_networks_of_other_inputs_are_told_how_to_be_wrapped(first, takes):
    pool = nn.AdaptiveAvgPool3d(1) if isinstance(first, nn.Conv3d) else nn.AdaptiveAvgPool2d(1)
    net = nn.Sequential(first, nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, SCORES)).eval()
    with pytest.raises(ModelError, match=takes) as told:
        tiny.classifier(net).logits(tiny.images(1))
    assert "wrap it" in str(told.value)


class Grey(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        )

    def forward(self, x):
        return self.net(x.mean(1, keepdim=True))


def test_the_wrap_that_is_advised_is_explained():
    clf = Classifier(Grey().eval(), preprocess=Preprocess((32, 32)))
    assert clf.point.path.startswith("net.") and saywhy.explain(clf, PHOTO).saliency.method == "grad-cam"


def test_no_raw_error_leaves_a_network_that_fails_in_its_own_way():
    class Fails(tiny.Cnn):
        def forward(self, x):
            raise KeyError("mine")

    with pytest.raises(SaywhyError, match="mine"):
        saywhy.explain(tiny.classifier(Fails().eval()), PHOTO)
