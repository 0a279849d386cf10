"""L-CAM heads: equal to CAM before training, losses as they are written, masks where the paper puts them, one pass."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import tiny
from saywhy import Explainer
from saywhy.errors import InputError, UsageError
from saywhy.lcam import heads as lcam
from saywhy.lcam import losses as masks
from saywhy.lcam import refine
from saywhy.lcam.fitting import Recipe, frozen, lcam_step
from saywhy.lcam.losses import Coefficients
from saywhy.metrics import spearman
from saywhy.passes import counting
from saywhy.saliency import saliency, saliency_of
from saywhy.targets import Targets
from saywhy.train.loop import Config, fit

ROWS = Recipe("rows", Config(epochs=6, batch_size=8, lr=0.02), form="rows", crop=False)


def tap_of(clf, x, fine=True):
    finer = clf.fine_point() if fine else None
    return clf.tap(x, [clf.point] if finer is None else [finer, clf.point])


def trained(clf, x, form="shared", **options):
    """A head whose parameters are not where they start."""
    head = lcam.start(tap_of(clf, x), form, **options)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in head.head.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g))
    return head


@pytest.mark.parametrize("form", ["rows", "shared"])
@pytest.mark.parametrize("model", ["cnn", "swin"])
def test_before_training_the_head_is_cam(form, model):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(3)
    head = lcam.start(tap_of(clf, x), form, fine=False)
    ours = head.maps(tap_of(clf, x), torch.tensor([[1], [4], [1]]))[:, 0]
    cam = saliency(clf, x, [1, 4, 1], method="cam").raw
    gain = float((ours.detach() * cam).sum() / (cam * cam).sum())
    assert gain > 0 and torch.allclose(ours, gain * cam, atol=1e-4 * float(ours.detach().abs().max()))


def test_before_training_the_finer_head_is_cam_scaled_up():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    fine, coarse = lcam.start(tap_of(clf, x), fine=True), lcam.start(tap_of(clf, x), fine=False)
    asked = torch.tensor([[2], [3]])
    tap = tap_of(clf, x)
    assert fine.layers == ("relu", "pool") and coarse.layers == ("relu",)
    up = F.interpolate(coarse.maps(tap, asked), (16, 16), mode="bilinear", align_corners=False)
    assert torch.allclose(fine.maps(tap, asked), up, atol=1e-5)


def test_own_rows_are_the_weights_behind_average_pooling_and_mean_gradients_elsewhere():
    net = tiny.build("cnn")
    clf, x = tiny.classifier(net), tiny.images(3)
    assert torch.allclose(lcam.own_rows(clf.tap(x), tiny.CLASSES), net.head.weight.detach(), atol=1e-6)
    clf = tiny.classifier(tiny.build("vit"))
    tap = clf.tap(x)
    grads = tap.grads(Targets(torch.tensor([2, 2, 2]), ()))
    assert torch.allclose(lcam.own_rows(tap, tiny.CLASSES)[2], grads.sum((2, 3)).mean(0), atol=1e-6)


def test_the_published_form_has_one_row_a_class():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    head = trained(clf, x, "rows")
    assert sum(p.numel() for p in head.head.parameters()) == tiny.CLASSES * (8 + 1)
    A, W, b = clf.tap(x).maps(), head.head.weight.detach(), head.head.bias.detach()
    for n in range(2):
        for c in range(tiny.CLASSES):
            L = torch.full((8, 8), float(b[c].detach()))
            for k in range(8):
                L += W[c, k] * A[n, k]
            got = head.maps(clf.tap(x), torch.tensor([[c], [c]]))[n, 0]
            assert torch.allclose(got, L, atol=1e-4)


def test_the_shared_form_is_a_low_rank_change_of_the_classifiers_rows_and_reaches_unseen_classes():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    before, head = lcam.start(tap_of(clf, x), rank=2, fine=False), lcam.start(tap_of(clf, x), rank=2, fine=False)
    with torch.no_grad():
        head.head.up.normal_(generator=torch.Generator().manual_seed(1))
    changes = []
    for c in range(tiny.CLASSES):  # none of them was trained on
        asked = torch.tensor([[c], [c]])
        changes.append((head.maps(clf.tap(x), asked) - before.maps(clf.tap(x), asked)).flatten())
    assert all(float(change.detach().abs().max()) > 0 for change in changes)
    h = head.head
    expected = h.own + h.own @ h.down.T @ h.up.T
    A = clf.tap(x).maps()
    got = head.maps(clf.tap(x), torch.arange(tiny.CLASSES).expand(2, -1))
    assert torch.allclose(got, torch.einsum("rk,nkhw->nrhw", expected / h.spread, A) + h.bias, atol=1e-4)
    assert int(torch.linalg.matrix_rank((expected - h.own).detach(), rtol=1e-4)) == 2


def test_the_refined_form_starts_as_the_mean_of_cam_and_its_sigmoid():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    head = lcam.start(tap_of(clf, x), "refined")
    got = head.maps(tap_of(clf, x), torch.tensor([[2], [3]]))[:, 0].detach()
    cam = saliency(clf, x, [2, 3], method="cam").raw
    for L, one in zip(got, cam, strict=True):
        up = F.interpolate(one[None, None], (16, 16), mode="bilinear", align_corners=False)[0, 0]
        squashed = torch.sigmoid(2 * (up - up.mean()) / up.std() + 0.5)
        total = sum((part - part.min()) / (part.max() - part.min()) / 2 for part in (up, squashed))
        assert torch.allclose(L, total, atol=5e-3)


def test_the_refined_map_is_the_mean_of_its_networks():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(3)
    head, tap = lcam.start(tap_of(clf, x), "refined").head, tap_of(clf, x)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(4)
        for p in head.parameters():
            p.copy_(torch.randn_like(p))
    basis = head.basis([tap.maps()], torch.tensor([[0], [2], [1]]), tap.logits)[:, 0]
    slow = sum(head.member(i).steadied(basis) for i in range(len(head.mixers))) / len(head.mixers)
    assert len(head.mixers) > 1 and torch.allclose(head.refine(basis), slow, atol=1e-5)
    alone = head.member(0).steadied(basis)
    assert not torch.allclose(alone, slow, atol=1e-2)


def test_maps_of_the_refined_form_are_standardised_and_finite_for_any_network_and_class():
    for model in tiny.MODELS:
        clf, x = tiny.classifier(tiny.build(model)), tiny.images(2)
        head, tap = lcam.start(tap_of(clf, x), "refined"), tap_of(clf, x)
        features = [tap.maps(path) for path in head.layers]
        basis = head.head.basis(features, torch.arange(tiny.CLASSES).expand(2, -1), tap.logits)
        assert torch.isfinite(basis).all()
        named = basis[:, :, : refine.OF_CLASS + refine.SHARED]
        assert float(named.mean((3, 4)).abs().max()) < 1e-4
        assert float(named.std((3, 4)).max()) < 1.001 and float(named[:, :, 0].std((2, 3)).min()) > 0.9
        for c in range(tiny.CLASSES):
            one = head.head.basis(features, torch.full((2, 1), c), tap.logits)
            # behind a layer norm the norm of a cell says nothing: there rounding is all that is left of it
            assert torch.allclose(one[:, 0], basis[:, c], atol=1e-3)


# --------------------------------------------------------------------------------------------------
# Losses.


def some_masks(N=3, m=1):
    return torch.rand(N, m, 4, 5, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_losses_equal_the_written_formulas(m, kind):
    S, c = some_masks(m=m), Coefficients(border=0.3, variation=kind)
    scores = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 5, 2])
    got = masks.losses(scores, labels, S, c)
    ce = sum(-float(scores[n].log_softmax(0)[labels[n]]) for n in range(3)) / 3
    av, tv, edge = 0.0, 0.0, []
    for mask in S.flatten(0, 1):
        for p in range(4):
            for q in range(5):
                av += (float(mask[p, q]) + 5e-4) ** 0.3
                tv += float(mask[p, q] - mask[p, q + 1]) ** 2 if q < 4 else 0.0
                tv += float(mask[p, q] - mask[p + 1, q]) ** 2 if p < 3 else 0.0
                edge += [float(mask[p, q])] if p in (0, 3) or q in (0, 4) else []
    av, tv = av / S.numel(), tv / (1 if kind == "sum" else 2 * len(S))
    border = sum(edge) / len(edge)
    for name, value in (("ce", ce), ("av", av), ("tv", tv), ("border", border)):
        assert float(got[name]) == pytest.approx(value, rel=1e-4), name
    total = 1.5 * ce + 2 * av + 0.01 * tv + 0.3 * border
    assert float(got["loss"]) == pytest.approx(total, rel=1e-4)


def test_without_area_and_variation_the_loss_is_cross_entropy():
    scores, labels = torch.randn(3, 6, generator=torch.Generator().manual_seed(3)), torch.tensor([0, 5, 2])
    got = masks.losses(scores, labels, some_masks(), masks.CE_ONLY)
    assert float(got["loss"]) == pytest.approx(1.5 * float(F.cross_entropy(scores, labels)), rel=1e-6)
    assert "border" not in got


def test_cut_masks_keep_their_top_values_and_pass_the_whole_gradient():
    S = some_masks()[:, 0].requires_grad_()
    cut = masks.keep_top(S, [100.0, 50.0, 15.0])
    assert [int((c > 0).sum()) for c in cut] == [20, 10, 3]
    for whole, part in zip(S.detach(), cut.detach(), strict=True):
        kept = part > 1e-6
        assert torch.allclose(part[kept], whole[kept], atol=1e-6)
        assert float(whole[kept].min()) >= float(whole[~kept].max() if (~kept).any() else 0)
    (cut * torch.arange(20.0).reshape(4, 5)).sum().backward()
    assert torch.equal(S.grad[2], torch.arange(20.0).reshape(4, 5))


# --------------------------------------------------------------------------------------------------
# Masks.


def test_the_image_is_masked_in_0_to_1_before_normalisation():
    net = tiny.build("cnn")
    clf, x, S = tiny.classifier(net), tiny.images(2), some_masks(2)[:, 0]
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.25, 0.3, 0.2])[:, None, None]
    up = F.interpolate(S[:, None], (32, 32), mode="bilinear", align_corners=False)
    tap = clf.tap(x)
    got = masks.scores_through(clf, tap, "relu", S, kind="img", fill="black")
    assert torch.allclose(got, net((x * up - mean) / std), atol=1e-5)
    grey = x.mean((2, 3), keepdim=True)
    got = masks.scores_through(clf, tap, "relu", S, kind="img", fill="image-mean")
    assert torch.allclose(got, net((x * up + grey * (1 - up) - mean) / std), atol=1e-5)
    whole, nothing = torch.ones(2, 4, 4), torch.zeros(2, 4, 4)
    assert torch.equal(masks.seen_image(x, whole, "blur"), x)
    assert float(masks.seen_image(x, nothing, "blur").std()) < float(x.std())


def test_the_maps_are_masked_and_only_the_tail_looks_again():
    net = tiny.build("cnn")
    clf, x = tiny.classifier(net), tiny.images(2)
    tap, S = clf.tap(x), torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(4), requires_grad=True)
    with counting() as meter:
        got = masks.scores_through(clf, tap, "relu", S, kind="fm", fill="black")
    assert (meter.forward_passes, meter.tail_passes) == (0, 4), "two to try the tail on its own maps, once a tap"
    assert torch.allclose(got, net.head((tap.maps() * S[:, None]).mean((2, 3))), atol=1e-5)
    got.sum().backward()
    assert float(S.grad.abs().max()) > 0
    with pytest.raises(UsageError, match="finer"):
        masks.scores_through(clf, tap, "relu", some_masks(2)[:, 0], kind="fm", fill="black")
    with pytest.raises(UsageError, match="image-mean"):
        masks.seen_maps(tap.maps(), S, "blur")


def test_an_unknown_fill_or_variation_is_named():
    with pytest.raises(UsageError, match="blur"):
        masks.seen_image(tiny.images(1), some_masks(1)[:, 0], "blurr")
    with pytest.raises(UsageError, match="mean"):
        Coefficients(variation="means")  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------
# Training, by hand.


def one_step(clf, head, x, recipe):
    """The losses of a training step on photos, in eval mode: no crops, no chance."""
    head.head.eval()
    with frozen(clf):
        return {k: float(v.detach()) for k, v in lcam_step(clf, head, recipe)(x).items()}


@pytest.mark.parametrize("mode", masks.MODES)
@pytest.mark.parametrize("kind", ["img", "fm"])
def test_a_training_step_is_look_mask_and_look_again_as_the_paper_writes_it(kind, mode):
    net = tiny.build("cnn")
    clf, x, c = tiny.classifier(net), tiny.images(3), Coefficients(border=0.3)
    head = trained(clf, x, "rows")
    got = one_step(clf, head, x, replace(ROWS, kind=kind, mode=mode, coefficients=c))
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.25, 0.3, 0.2])[:, None, None]
    with torch.no_grad():
        A = net.features((x - mean) / std)
        y = net.head(A.mean((2, 3))).argmax(1)
        L = torch.einsum("rk,nkhw->nrhw", head.head.weight, A) + head.head.bias[:, None, None]
        own = torch.stack([L[n, y[n]] for n in range(3)]).sigmoid()
        if kind == "img":
            seen = net((x * F.interpolate(own[:, None], (32, 32), mode="bilinear") - mean) / std)
        else:
            seen = net.head((A * own[:, None]).mean((2, 3)))
        S = own[:, None] if mode == "own" else L[:, y].sigmoid()
        expected = masks.losses(seen, y, S, c)
    for name, value in expected.items():
        assert got[name] == pytest.approx(float(value), rel=1e-4), name


def fitted(clf, x, recipe, seed=0):
    """A head fitted to photos, without files."""
    head = lcam.start(tap_of(clf, x, fine=False), recipe.form, fine=False)
    with frozen(clf):
        fit(head.head, lcam_step(clf, head, recipe), x, replace(recipe.config, seed=seed))
    head.head.eval().requires_grad_(False)
    return head


@pytest.mark.parametrize("kind", ["img", "fm"])
@pytest.mark.parametrize("form", ["rows", "shared"])
def test_a_head_for_a_network_of_other_weights_draws_other_maps(form, kind):
    x, recipe = tiny.images(24, seed=3), replace(ROWS, form=form, kind=kind)
    clf, other = tiny.classifier(tiny.build("cnn")), tiny.classifier(tiny.build("cnn", seed=9))
    classes = clf.logits(x).argmax(1).tolist()

    def maps(clf, seed=0):
        return saliency(clf, x, classes, method="l-cam", head=fitted(clf, x, recipe, seed)).raw

    own = maps(clf)
    again, random = spearman(own, maps(clf, seed=1)), spearman(own, maps(other))
    assert float(again.nanmean()) > 0.9
    assert float(random.nanmean()) < 0.5 and random.isfinite().float().mean() > 0.9


# --------------------------------------------------------------------------------------------------
# Inference.


@pytest.mark.parametrize("model", tiny.MODELS)
@pytest.mark.parametrize("form", lcam.FORMS)
def test_a_map_costs_one_pass_and_no_gradient_and_is_the_same_alone_and_in_a_batch(form, model, monkeypatch):
    clf, x = tiny.classifier(tiny.build(model)), tiny.images(3)
    head = trained(clf, x, form)
    monkeypatch.setattr(torch.autograd, "grad", None)
    got = saliency(clf, x, [0, 1, 2], method="l-cam", head=head)
    assert (got.passes.forward_passes, got.passes.tail_passes) == (3, 0)
    alone = torch.cat([saliency(clf, x[i : i + 1], i, method="l-cam", head=head).raw for i in range(3)])
    assert torch.allclose(alone, got.raw, atol=1e-4)
    assert not torch.allclose(got.raw, saliency(clf, x, [3, 4, 5], method="l-cam", head=head).raw)


def test_the_display_is_min_max_of_the_raw_map_scaled_up():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    head = trained(clf, x, "rows")
    got = saliency(clf, x, 4, method="l-cam", head=head)
    L = head.maps(clf.tap(x), torch.tensor([[4], [4]]))[:, 0].detach()
    V = torch.stack([(m - m.min()) / (m.max() - m.min()) for m in L])
    assert torch.allclose(got.raw, V, atol=1e-6)
    up = F.interpolate(V[:, None], (32, 32), mode="bilinear", align_corners=False)[:, 0]
    for shown, expected in zip(got.display, up, strict=True):
        assert torch.allclose(shown, (expected - expected.min()) / (expected.max() - expected.min()), atol=1e-5)


def test_the_classifier_is_left_as_found(request):
    net = tiny.build("cnn")
    before, x = copy.deepcopy(net.state_dict()), tiny.images(2)
    clf = tiny.classifier(net)
    saliency(clf, x, 0, method="l-cam", head=trained(clf, x))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_a_contrast_is_the_difference_of_two_maps_and_other_targets_are_refused():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)
    head, tap = trained(clf, x, fine=False), clf.tap(x)
    got = saliency_of(tap, Targets(torch.tensor([1]), (), torch.tensor([2])), "l-cam", head=head)
    L = head.maps(tap, torch.tensor([[1, 2]])).detach()
    L = L[:, 0] - L[:, 1]
    assert torch.allclose(got, (L - L.min()) / (L.max() - L.min()), atol=1e-5)
    with pytest.raises(UsageError, match="grad-cam"):
        saliency(clf, x, lambda scores: scores.sum(1), method="l-cam", head=head)


def test_a_tap_without_the_finer_layer_costs_one_more_pass():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    head, tap = trained(clf, x), clf.tap(x)
    with counting() as meter:
        got = saliency_of(tap, tap.resolve(1), "l-cam", head=head)
    assert meter.forward_passes == 2
    assert torch.allclose(got, saliency(clf, x, 1, method="l-cam", head=head).raw, atol=1e-5)


def test_without_a_head_the_way_to_one_is_told():
    with pytest.raises(UsageError, match="saywhy fit"):
        saliency(tiny.classifier(tiny.build("cnn")), tiny.images(1), method="l-cam")


def test_a_class_that_the_head_does_not_know_is_an_error():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)
    with pytest.raises(UsageError, match="6 classes"):
        trained(clf, x).maps(tap_of(clf, x), torch.tensor([[6]]))


# --------------------------------------------------------------------------------------------------
# Files.


@pytest.mark.parametrize("form", lcam.FORMS)
def test_an_explainer_that_was_saved_explains_as_before(form, tmp_path):
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    head = trained(clf, x, form)
    Explainer(clf, {"lcam": head}).save(tmp_path / "mine")
    again = Explainer.load(tmp_path / "mine", clf)
    assert again.method == "l-cam" and again.parts["lcam"].layers == head.layers
    expected = saliency(clf, x, 3, method="l-cam", head=head).raw
    assert torch.equal(saliency(clf, x, 3, method="l-cam", **again.options["l-cam"]).raw, expected)


def test_a_head_for_another_model_or_layer_is_refused(tmp_path):
    net = tiny.build("cnn")
    clf, x = tiny.classifier(net), tiny.images(2)
    Explainer(clf, {"lcam": trained(clf, x)}).save(tmp_path)
    with pytest.raises(UsageError, match="fitted to the classifier"):
        Explainer.load(tmp_path, tiny.classifier(tiny.build("cnn", seed=9)))
    with pytest.raises(UsageError, match="conv1"):
        Explainer.load(tmp_path, tiny.classifier(net, layer="conv1"))


def test_a_folder_without_an_explainer_and_a_broken_one_are_input_errors(tmp_path):
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(2)
    with pytest.raises(InputError, match="no explainer there"):
        Explainer.load(tmp_path, clf)
    Explainer(clf, {"lcam": trained(clf, x)}).save(tmp_path)
    (tmp_path / "lcam.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match="no L-CAM head"):
        Explainer.load(tmp_path, clf)
    (tmp_path / "explainer.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Explainer.load(tmp_path, clf)
    (tmp_path / "explainer.json").write_text('{"format": 99, "parts": {}}')
    with pytest.raises(UsageError, match="newer"):
        Explainer.load(tmp_path, clf)
