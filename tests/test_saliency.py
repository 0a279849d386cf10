"""Every method against its paper, written out in oracles.py; options, display, messages."""

import pytest
import torch
import torch.nn.functional as F

import oracles
import tiny
from saywhy.errors import UsageError
from saywhy.image import Picture
from saywhy.intervene import content_seed
from saywhy.saliency import METHODS, display, perturb, saliency, saliency_of

MEAN, STD = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.25, 0.3, 0.2])[:, None, None]


def normal(x):
    return (x - MEAN) / STD


@pytest.fixture(scope="module")
def world():
    """A tiny CNN cut by hand, two photos, and for each its maps and gradients for class 2."""
    net = tiny.build("cnn", seed=3)
    clf, x = tiny.classifier(net), tiny.images(2)

    def head(y):
        return net.features(y).detach()

    def tail(A):
        return net.head(A.mean(dim=(2, 3)))

    pairs = [oracles.maps_and_gradients(head, tail, normal(x[i : i + 1]), 2) for i in range(2)]
    return clf, net, x, head, tail, pairs


def both(clf, x, method, **options):
    return saliency(clf, x, 2, method=method, **options).raw


def close(got, expected, tolerance=1e-5):
    expected = torch.stack([e.float() for e in expected])
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def test_cam_uses_the_weights_of_the_class_and_is_grad_cam_times_the_cells(world):
    clf, net, x, _, _, pairs = world
    got = both(clf, x, "cam")
    close(got, [oracles.cam(net.head.weight.detach(), A, 2) for A, _ in pairs])
    assert torch.allclose(got, both(clf, x, "grad-cam") * 64, atol=1e-5)


def test_eigen_cam_equals_its_paper_and_is_high_where_the_layer_is_active(world):
    clf, _, x, _, _, pairs = world
    got = both(clf, x, "eigen-cam")
    close(got, [oracles.eigen_cam(A.double()) for A, _ in pairs], 1e-4)
    assert (got.flatten(1).sum(dim=1) > 0).all()
    centred = both(clf, x, "eigen-cam", centred=True)
    energy = torch.stack([A.square().sum(0) for A, _ in pairs])
    assert ((centred * energy).sum(dim=(1, 2)) > 0).all()


def test_eigen_cam_takes_either_gram_matrix_and_gives_one_map():
    X = torch.rand(3, 6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    from saywhy.saliency.cam import _first_component

    wide, tall = _first_component(X), _first_component(torch.cat([X, X.new_zeros(3, 20, 10)], dim=1))
    assert torch.allclose(wide.abs(), tall[:, :6].abs(), atol=1e-9)


def test_the_chunk_of_ablation_cam_and_the_batch_of_score_cam_change_nothing(world):
    clf, _, x, *_ = world
    for method, size in (("ablation-cam", "chunk"), ("score-cam", "batch_size")):
        assert torch.allclose(both(clf, x, method, **{size: 3}), both(clf, x, method), rtol=1e-4, atol=1e-6)


def test_ablation_cam_is_right_behind_an_in_place_relu_and_for_negative_scores():
    net = tiny.build("dense", seed=1)
    clf, x = tiny.classifier(net, layer="norm"), tiny.images(1)

    def head(y):
        y = net.stem(y)
        for layer in net.layers:
            y = torch.cat([y, F.relu(layer(y))], dim=1)
        return net.norm(y).detach()

    A = head(normal(x))[0]

    def tail(B):
        return net.head(B.relu().mean(dim=(2, 3))).detach()

    for c in range(tiny.CLASSES):
        close(saliency(clf, x, c, method="ablation-cam", chunk=5).raw, [oracles.ablation_cam(A, tail, c)], 1e-3)
    assert float(tail(A[None].clone()).min()) < 0 < float(tail(A[None].clone()).max())


def test_grouped_score_cam_is_score_cam_when_every_channel_is_its_own_group(world):
    clf, _, x, *_ = world
    assert torch.allclose(both(clf, x, "score-cam-grouped"), both(clf, x, "score-cam"), rtol=1e-5, atol=1e-6)


def test_grouped_score_cam_needs_one_pass_for_channels_that_are_alike():
    A = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(0))
    channels = torch.cat([A * s for s in (1.0, 2.0, 0.5)])
    group = perturb.group_channels(channels, 5)
    assert sorted(group.unique().tolist()) == [0, 1, 2, 3, 4]
    assert torch.equal(group[:5], group[5:10]) and torch.equal(group[:5], group[10:])
    assert torch.equal(perturb.group_channels(channels, 5), group)


def test_finer_cam_is_the_mean_of_the_differences_of_grad_cams(world):
    clf, _, x, head, tail, _ = world
    logits = clf.logits(x)
    near = [(logits[i] - logits[i, 2]).abs().argsort()[1:4].tolist() for i in range(2)]
    close(
        both(clf, x, "finer-cam"), [oracles.finer_cam(head, tail, normal(x[i : i + 1]), 2, near[i]) for i in range(2)]
    )
    named = [oracles.finer_cam(head, tail, normal(x[i : i + 1]), 2, [0, 5], 0.6) for i in range(2)]
    close(both(clf, x, "finer-cam", versus=[0, "class 5"], strength=0.6), named)
    with pytest.raises(UsageError, match="itself"):
        both(clf, x, "finer-cam", versus=2)


def test_rise_equals_its_paper_on_the_same_masks(world):
    clf, net, x, *_ = world
    got = both(clf, x, "rise", masks=20, cells=4, keep=0.4, grid=(32, 32), seed=7)
    for i in range(2):
        g = torch.Generator().manual_seed(content_seed(x[i], 7))
        coins = (torch.rand(20, 4, 4, generator=g) < 0.4).float()
        down, right = torch.randint(8, (20,), generator=g), torch.randint(8, (20,), generator=g)
        large = F.interpolate(coins[:, None], (40, 40), mode="bilinear", align_corners=False)[:, 0]
        masks = torch.stack([m[d : d + 32, r : r + 32] for m, d, r in zip(large, down, right, strict=True)])
        expected = oracles.rise(lambda y: net(normal(y)).softmax(1).detach(), x[i : i + 1], 2, masks, 0.4)
        close(got[i : i + 1], [expected], 1e-4)
    coarse = both(clf, x, "rise", masks=20, cells=4, keep=0.4, grid=(8, 8), seed=7)
    assert torch.allclose(coarse, F.avg_pool2d(got[:, None], 4)[:, 0], rtol=1e-4)


def test_rise_depends_on_the_seed_and_not_on_the_batch_size(world):
    clf, _, x, *_ = world
    one = both(clf, x, "rise", masks=20, cells=4, batch_size=3)
    assert torch.allclose(one, both(clf, x, "rise", masks=20, cells=4, batch_size=16), atol=1e-6)
    assert not torch.allclose(one, both(clf, x, "rise", masks=20, cells=4, seed=1), atol=1e-4)


@pytest.mark.parametrize("size", range(30, 44))
def test_occlusion_squares_reach_both_borders_and_mirror(size):
    starts = perturb._starts(size, 9, 4)
    assert starts[0] == 0 and starts[-1] == size - 9
    assert torch.equal((size - 9 - starts).flip(0), starts)
    assert int(starts.diff().max()) <= 5 and int(starts.diff().min()) >= 1
    assert torch.allclose(perturb._coverage(size, starts, 9, 4).sum(dim=0), torch.full((len(starts),), 9.0))


@pytest.mark.parametrize("attention", ["fused", "written", "torch"])
@pytest.mark.parametrize(("registers", "pool"), [(0, "token"), (2, "token"), (0, "mean"), (3, "mean")])
def test_transformer_methods_equal_their_papers(attention, registers, pool):
    torch.manual_seed(2)
    net = tiny.lively(tiny.Vit(registers, pool, attention)).eval()
    clf, x = tiny.classifier(net, layer="blocks.1"), tiny.images(2)
    reference = tiny.Vit(registers, pool, "written").eval()
    weights = {
        k.replace("inner.in_proj_", "qkv.").replace("inner.out_proj", "proj"): v for k, v in net.state_dict().items()
    }
    reference.load_state_dict(weights)
    prefix = net.first.shape[1]
    rollouts, relevance = [], []
    for i in range(2):
        scores, found = oracles.attention_weights(reference, normal(x[i : i + 1]))
        rollouts.append(rollout_of(found, prefix, pool))
        relevance.append(oracles.legrad(scores[0, 2], found, prefix).reshape(4, 4))
    close(saliency(clf, x, 2, method="attention-rollout").raw, rollouts, 1e-4)
    close(saliency(clf, x, 2, method="legrad").raw, relevance, 1e-3)
    assert torch.allclose(clf.tap(x).attention()[0].detach(), clf.logits(x), atol=1e-5)


def rollout_of(found, prefix, pool):
    if pool == "token":
        return oracles.attention_rollout(found, prefix).detach().reshape(4, 4)
    R = torch.eye(found[0].shape[-1])
    for W in found:
        A = 0.5 * W[0].mean(dim=0) + 0.5 * torch.eye(W.shape[-1])
        R = A @ R
    return R[prefix:, prefix:].mean(dim=0).detach().reshape(4, 4)


def test_rollout_heads_can_be_fused_otherwise():
    clf, x = tiny.classifier(tiny.build("vit")), tiny.images(1)
    maps = [saliency(clf, x, method="attention-rollout", heads=h).raw for h in ("mean", "max", "min")]
    assert not torch.allclose(maps[0], maps[1]) and not torch.allclose(maps[0], maps[2])
    with pytest.raises(UsageError, match="mean, max or min"):
        saliency(clf, x, method="attention-rollout", heads="median")


def test_non_square_photos_give_non_square_maps():
    torch.manual_seed(0)
    net = tiny.lively(tiny.Cnn()).eval()
    clf = tiny.classifier(net)
    x = F.interpolate(tiny.images(1), (32, 64), mode="bilinear")
    got = saliency(clf, x, 1)
    assert got.raw.shape == (1, 8, 16) and got.display.shape == (1, 32, 64)
    for method in ("rise", "occlusion", "score-cam"):
        assert saliency(clf, x, 1, method=method, **({"masks": 5} if method == "rise" else {})).display.shape[1:] == (
            32,
            64,
        )


def test_hires_cam_behind_a_first_norm_is_flat_and_says_so():
    clf, x = tiny.classifier(tiny.build("vit")), tiny.images(2)
    assert saliency(clf, x, method="hires-cam").status == ("flat", "flat")
    assert saliency(clf, x, method="grad-cam").status == ("ok", "ok")


# --------------------------------------------------------------------------------------------------


def test_display_clips_scales_and_says_what_a_map_is():
    raw = torch.stack(
        [
            torch.tensor([[-1.0, 0.0], [1.0, 3.0]]),
            torch.full((2, 2), 0.7),
            torch.tensor([[-3.0, -1.0], [-2.0, -1.0]]),
            torch.tensor([[float("nan"), 0.0], [1.0, 2.0]]),
            torch.zeros(2, 2),
        ]
    )
    shown, status = display(raw, (2, 2))
    assert status == ("ok", "flat", "all_negative", "not_finite", "flat")
    assert torch.allclose(shown[0], torch.tensor([[0.0, 0.0], [1 / 3, 1.0]]))
    assert torch.equal(shown[1:], torch.zeros(4, 2, 2))


def test_dead_maps_are_flat_and_not_an_error():
    net = tiny.build("cnn")
    with torch.no_grad():
        net.conv2.weight.zero_()
        net.conv2.bias.fill_(-1)
    clf, x = tiny.classifier(net), tiny.images(1)
    for method in METHODS:
        if METHODS[method].needs in ("maps", "gradients"):
            got = saliency(clf, x, 1, method=method)
            assert got.status == ("flat",), method
            assert not got.display.any()


def test_photos_come_as_tensors_pictures_arrays_and_paths(tmp_path):
    from PIL import Image

    clf = tiny.classifier(tiny.build("cnn"))
    pixels = (tiny.images(1, side=48)[0].permute(1, 2, 0).numpy() * 255).astype("uint8")
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    picture = Picture(pixels, None, "0")
    expected = saliency(clf, clf.prepare([picture])[0]).raw
    for given in (path, str(path), picture, [picture], pixels, [path]):
        assert torch.equal(saliency(clf, given).raw, expected)


def test_many_photos_are_served_in_batches_with_their_own_targets_and_progress():
    clf, x, seen = tiny.classifier(tiny.build("cnn"), batch_size=2), tiny.images(5), []
    got = saliency(clf, x, [0, 1, 2, 3, 4], progress=lambda done, total: seen.append((done, total)))
    alone = torch.cat([saliency(clf, x[i : i + 1], i).raw for i in range(5)])
    assert torch.allclose(got.raw, alone, atol=1e-6)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert got.passes.forward_passes == 5 and got.layer == "relu" and "8 x 8" in got.layer_reason
    with pytest.raises(UsageError, match="4 targets for 5 images"):
        saliency(clf, x, [0, 1, 2, 3])


def test_passes_are_counted_and_dead_channels_cost_nothing():
    net = tiny.build("cnn", seed=3)
    with torch.no_grad():
        net.conv2.weight[:5].zero_()
        net.conv2.bias[:5] = -1
    clf, x = tiny.classifier(net), tiny.images(1)
    live = int((clf.tap(x).maps()[0].flatten(1).amax(1) > 0).sum())
    assert live <= 3
    assert saliency(clf, x, 1, method="score-cam").passes.forward_passes == 2 + live
    got = saliency(clf, x, 1, method="ablation-cam").passes
    assert (got.forward_passes, got.tail_passes) == (1, 1 + live)  # the tail is tried on its own maps first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcam"}, "did you mean 'grad-cam'"),
        ({"method": "rise", "mask": 3}, "did you mean 'masks'"),
        ({"layer": "rellu"}, "did you mean 'relu'"),
        ({"targets": 6}, "6 classes, 0 to 5"),
        ({"targets": "class seven"}, "unknown class"),
        ({"method": "rise", "masks": 0}, "masks >= 1"),
        ({"method": "occlusion", "window": 99}, "window <= 32"),
        ({"method": "score-cam-grouped", "groups": 0}, "at least one group"),
        ({"method": "score-cam", "fill": "grey"}, "unknown fill"),
        ({"method": "finer-cam", "similar": 0}, "at least one class"),
    ],
)
def test_a_wrong_request_says_what_is_right(options, message):
    with pytest.raises(UsageError, match=message):
        saliency(tiny.classifier(tiny.build("cnn")), tiny.images(1), **options)


def test_a_contrast_target_is_the_difference_of_two_maps():
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)
    tap = clf.tap(x)
    from saywhy.targets import Targets

    contrast = Targets(torch.tensor([1]), (), torch.tensor([4]))
    got = saliency_of(tap, contrast, "grad-cam")
    assert torch.allclose(got, saliency(clf, x, 1).raw - saliency(clf, x, 4).raw, atol=1e-6)
