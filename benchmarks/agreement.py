"""Do saywhy's maps agree with grad-cam 1.5.7 and torchcam 0.5.0 where the conventions agree, and why not elsewhere?

    PYTHONPATH=tests/shim python benchmarks/agreement.py [-o benchmarks/results/agreement.json]

EfficientNet-lite0 with its ImageNet weights, photos that come with scikit-image and scikit-learn, the predicted class.
Both maps are clipped at 0, scaled to the photo and stretched to [0, 1]; the difference is the largest over all pixels.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytorch_grad_cam
import torch
import torch.nn.functional as F
import torchcam.methods
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.stats import spearmanr
from torch import Tensor, nn

from networks import Staged, sample_photos
from saywhy import Classifier, load_classifier, read, saliency
from saywhy.saliency import display

TOLERANCE = 1e-4


def peer_grad_cam(name: str, **settings: object) -> Callable[[nn.Module, Tensor, list[int]], Tensor]:
    def run(net: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
        with getattr(pytorch_grad_cam, name)(net, [net.last], **settings) as method:
            return torch.from_numpy(method(x, [ClassifierOutputTarget(c) for c in classes]))

    return run


def peer_torchcam(name: str) -> Callable[[nn.Module, Tensor, list[int]], Tensor]:
    def run(net: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
        extra = {"input_shape": (3, 224, 224)}
        if name == "CAM":
            extra["fc_layer"] = net.net._fc
        with getattr(torchcam.methods, name)(net, net.last, **extra) as method:
            scores = net(x)
            raw = method(classes, scores, normalized=False)[0].detach()
        return display(raw.clone(), (int(x.shape[2]), int(x.shape[3])))[0]

    return run


def grad_cam_finer(net: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
    method = pytorch_grad_cam.FinerCAM(net, [net.last])
    return torch.from_numpy(method(x))


def torchcam_finer(net: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
    with torchcam.methods.FinerCAM(net, net.last, num_references=3, gamma=1.0) as method:
        scores = net(x)
        return display(method(classes, scores, normalized=False)[0].detach().clone(), (224, 224))[0]


def undivided_grad_cam_pp(clf: Classifier, images: Tensor, classes: list[int]) -> Tensor:
    tap = clf.tap(images)
    cubes = tap.grads(tap.resolve(classes)).clamp_min(0) ** 3
    return display(torch.einsum("nk,nkhw->nhw", cubes.sum(dim=(2, 3)), tap.maps()), (224, 224))[0]


def rows(mean: Tensor) -> list[dict]:
    """One row a comparison: peer, our method and options, how many photos, and what to know of it."""
    both = {"unit": "logit", "weights": "softmax", "fill": mean}
    small = (
        "its 1e-6 (grad-cam) in alpha's denominator outweighs gradients below 1e-3, which is nearly all of them here; "
        "our default has no such constant"
    )
    undivided = (
        "the peer divides a copy (`alpha[mask].div_(...)`), so its alpha is G^2 and its weights are sum relu(G)^3, as "
        "the next row shows"
    )
    masked = (
        "default here: black pixels of the photo, weights are the rise in probability over the black photo (the "
        "paper's definition 3); the peers mask the normalised input, take logits and a softmax over the channels"
    )
    return [
        {"method": "cam", "peer": "torchcam CAM", "run": peer_torchcam("CAM")},
        {"method": "grad-cam", "peer": "grad-cam GradCAM", "run": peer_grad_cam("GradCAM")},
        {"method": "grad-cam", "peer": "torchcam GradCAM", "run": peer_torchcam("GradCAM")},
        {
            "method": "grad-cam++",
            "peer": "grad-cam GradCAMPlusPlus",
            "run": peer_grad_cam("GradCAMPlusPlus"),
            "options": {"eps": 1e-6},
        },
        {
            "method": "grad-cam++",
            "peer": "grad-cam GradCAMPlusPlus",
            "run": peer_grad_cam("GradCAMPlusPlus"),
            "reason": small,
        },
        {"method": "grad-cam++", "peer": "torchcam GradCAMpp", "run": peer_torchcam("GradCAMpp"), "reason": undivided},
        {
            "method": "grad-cam++ with alpha = G^2",
            "peer": "torchcam GradCAMpp",
            "run": peer_torchcam("GradCAMpp"),
            "ours": undivided_grad_cam_pp,
        },
        {"method": "hires-cam", "peer": "grad-cam HiResCAM", "run": peer_grad_cam("HiResCAM")},
        {"method": "layer-cam", "peer": "grad-cam LayerCAM", "run": peer_grad_cam("LayerCAM")},
        {"method": "layer-cam", "peer": "torchcam LayerCAM", "run": peer_torchcam("LayerCAM")},
        {
            "method": "eigen-cam",
            "peer": "grad-cam EigenCAM",
            "run": peer_grad_cam("EigenCAM"),
            "options": {"centred": True},
            "reason": "by luck: it leaves the sign of its component to chance; ours is high where the layer is active",
        },
        {
            "method": "finer-cam",
            "peer": "torchcam FinerCAM",
            "run": torchcam_finer,
        },
        {
            "method": "finer-cam",
            "peer": "grad-cam FinerCAM",
            "run": grad_cam_finer,
            "reason": "it weighs the similar classes by their probabilities; the paper takes their mean",
        },
        {
            "method": "ablation-cam",
            "peer": "grad-cam AblationCAM",
            "run": peer_grad_cam("AblationCAM"),
            "photos": 1,
        },
        {
            "method": "score-cam",
            "peer": "grad-cam ScoreCAM",
            "run": peer_grad_cam("ScoreCAM"),
            "options": {**both, "align_corners": True},
            "photos": 1,
        },
        {
            "method": "score-cam",
            "peer": "torchcam ScoreCAM",
            "run": peer_torchcam("ScoreCAM"),
            "options": {**both, "normalise": "grid"},
            "photos": 1,
        },
        {
            "method": "score-cam",
            "peer": "torchcam ScoreCAM",
            "run": peer_torchcam("ScoreCAM"),
            "photos": 1,
            "reason": masked,
        },
    ]


def compare(row: dict, clf: Classifier, images: Tensor, classes: list[int]) -> dict:
    n = row.get("photos", len(images))
    if n == 1:  # the peers' 1280 forward passes a photo: half the side costs a quarter
        images = F.interpolate(images[:1], (112, 112), mode="area")
    options = row.get("options", {})
    with torch.enable_grad():
        theirs = row["run"](clf.net, clf.inputs(images[:n]), classes[:n])
    if "ours" in row:
        ours = row["ours"](clf, images[:n], classes[:n])
    else:
        ours = saliency(clf, images[:n], classes[:n], method=row["method"], **options).display
    difference = (ours - theirs).abs().flatten(1).amax(dim=1)
    rank = [float(spearmanr(a.flatten(), b.flatten()).statistic) for a, b in zip(ours, theirs, strict=True)]
    return {
        "method": row["method"],
        "options": {k: "mean colour" if isinstance(v, Tensor) else v for k, v in options.items()},
        "peer": row["peer"],
        "photos": n,
        "side": int(images.shape[2]),
        "largest_difference": [float(f"{d:.2e}") for d in difference.tolist()],
        "rank_correlation": [round(r, 5) for r in rank],
        "agrees_to_1e-4": bool((difference <= TOLERANCE).all()),
        "note": row.get("reason"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", default="benchmarks/results/agreement.json", type=Path)
    out = parser.parse_args().o
    lite = load_classifier("efficientnet-lite0")
    net = Staged(lite.net).eval().requires_grad_(True)  # the peers need weights that ask for gradients
    clf = Classifier(net, layer="last", preprocess=lite.preprocess, classes=lite.classes)
    images = clf.prepare([read(p) for p in sample_photos().values()])[0]
    classes = clf.logits(images).argmax(dim=1).tolist()
    found = []
    for row in rows(torch.tensor(clf.preprocess.mean)):
        found.append(compare(row, clf, images, classes))
        print(json.dumps(found[-1]))
    versions = {p: version(p) for p in ("torch", "grad-cam", "torchcam", "numpy")}
    record = {"machine": platform.machine(), "python": platform.python_version(), "versions": versions, "rows": found}
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
