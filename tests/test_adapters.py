"""captum's methods behind the contract; captum itself is an optional extra."""

import sys

import pytest
import torch

import tiny
from saywhy.errors import ExtraMissing, ModelError, UsageError
from saywhy.saliency import METHODS, saliency

EXTRA = [m for m, row in METHODS.items() if row.needs == "extra:captum"]
REFUSED = {"cnn": {"deep-lift", "lrp"}, "vit": {"lrp"}, "swin": {"lrp"}, "dict": {"deep-lift", "lrp"}}


@pytest.mark.parametrize("method", EXTRA)
def test_without_captum_the_message_says_what_to_install(method, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ExtraMissing, match="pip install captum"):
        saliency(tiny.classifier(tiny.build("cnn")), tiny.images(1), method=method)


@pytest.mark.parametrize("model", tiny.MODELS)
@pytest.mark.parametrize("method", EXTRA)
def test_captum_gives_maps_or_its_reason_and_never_touches_the_network(method, model):
    pytest.importorskip("captum")
    net = tiny.build(model)
    clf, x = tiny.classifier(net), tiny.images(2)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    attributes = [sorted(m.__dict__) for m in net.modules()]
    if method in REFUSED.get(model, ()):
        with pytest.raises(ModelError, match="captum's"):
            saliency(clf, x, [1, 2], method=method)
    else:
        got = saliency(clf, x, [1, 2], method=method)
        assert got.raw.shape == (2, 32, 32) and got.status == ("ok", "ok") and got.passes.forward_passes > 2
        alone = saliency(clf, x[1:], 2, method=method).raw
        assert torch.allclose(alone, got.raw[1:], rtol=1e-4, atol=1e-6)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert [sorted(m.__dict__) for m in net.modules()] == attributes
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_integrated_gradients_add_up_to_the_change_of_the_score():
    pytest.importorskip("captum")
    clf, x = tiny.classifier(tiny.build("cnn")), tiny.images(1)
    grey = torch.tensor(clf.preprocess.mean)[None, :, None, None].expand_as(x)
    change = clf.logits(x)[0, 3] - clf.logits(grey)[0, 3]
    assert torch.allclose(saliency(clf, x, 3, method="integrated-gradients", steps=200).raw.sum(), change, rtol=1e-2)


@pytest.mark.parametrize("method", EXTRA)
def test_a_black_box_is_refused(method):
    from saywhy.classifier import Classifier

    clf = Classifier(lambda x: x.mean(dim=(2, 3)), preprocess=tiny.classifier(tiny.build("cnn")).preprocess)
    with pytest.raises(UsageError, match="rise"):
        saliency(clf, tiny.images(1), method=method)
