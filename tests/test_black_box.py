"""Black boxes: callables, ONNX files and model servers on this machine."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import saywhy
from saywhy.audit import audit
from saywhy.classifier import Classifier
from saywhy.errors import ModelError, UsageError
from saywhy.image import Preprocess, read
from saywhy.passes import counting
from saywhy.zoo import load_classifier, remote


def images(count: int, height: int = 16, width: int | None = None) -> Tensor:
    x = torch.rand(count, 3, height, width or height, generator=torch.Generator().manual_seed(1))
    return (x * 255).round() / 255


def colour_scores(x: Tensor) -> Tensor:
    """Three logits: how red, green and blue the picture is."""
    return x.mean(dim=(2, 3)) * 4


# -- callables -------------------------------------------------------------------------------------


def test_a_callable_is_asked_for_scores_and_its_passes_are_counted():
    clf = load_classifier(colour_scores, size=16, classes=["red", "green", "blue"], batch_size=2)
    with counting() as meter:
        scores = clf.logits(images(5))
    assert torch.allclose(scores, colour_scores(images(5)))
    assert meter.forward_passes == 5
    assert not clf.white_box
    assert clf.name == "colour_scores"


def test_a_callable_with_a_name_is_known_again_and_one_without_is_not():
    def others(x):
        return colour_scores(x)

    named = [load_classifier(f, size=16, name="colours-2") for f in (colour_scores, others)]
    assert named[0].fingerprint == named[1].fingerprint and named[0].lasting and named[0].name == "colours-2"
    assert named[0].fingerprint == Classifier(others, preprocess=named[0].preprocess, name="colours-2").fingerprint
    assert named[0].fingerprint != load_classifier(others, size=16, name="colours-3").fingerprint
    assert load_classifier(load_classifier(others, size=16), name="colours-4").name == "colours-4"
    for clf in (load_classifier(colour_scores, size=16), Classifier(colour_scores)):
        assert not clf.lasting


def test_an_audit_of_a_callable_without_a_name_is_not_taken_up_again(tmp_path):
    (tmp_path / "pictures.jsonl").write_text("{}\n")
    for clf in (load_classifier(colour_scores, size=16), Classifier(colour_scores)):
        with pytest.raises(UsageError, match="without a name"):
            audit(clf, [], tmp_path)
    with pytest.raises(UsageError, match="another"):  # named: asked whether the folder is of the same model
        audit(load_classifier(colour_scores, size=16, name="colours"), [], tmp_path)


def test_a_callable_may_answer_with_arrays_lists_or_dicts():
    expected = colour_scores(images(3))
    for answer in (
        lambda x: colour_scores(x).numpy(),
        lambda x: colour_scores(x).tolist(),
        lambda x: {"logits": colour_scores(x)},
    ):
        assert torch.allclose(load_classifier(answer, size=16).logits(images(3)), expected)


def test_the_layers_of_a_black_box_are_wrong_usage():
    clf = load_classifier(colour_scores, size=16)
    tap = clf.tap(images(2))
    assert tap.logits.shape == (2, 3)
    for ask in (
        lambda: clf.point,
        lambda: tap.maps(),
        lambda: tap.grads(tap.resolve(0)),
        lambda: clf.tap(images(2), layers=["conv"]),
        lambda: load_classifier(colour_scores, size=16, layer="conv"),
    ):
        with pytest.raises(UsageError, match="black-box"):
            ask()
    assert "black box" in clf.layer_reason


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: colour_scores(x) * float("nan"),
        lambda x: colour_scores(x)[:1],
        lambda x: colour_scores(x)[:, :, None],
        lambda x: None,
        lambda x: [[1.0], [1.0, 2.0]],
        lambda x: [["red"]],
        lambda x: 1 / 0,
    ],
)
def test_a_callable_that_answers_wrongly_is_a_model_error(answer):
    with pytest.raises(ModelError):
        load_classifier(answer, size=16).logits(images(2))


def test_pictures_outside_0_to_1_are_wrong_usage():
    clf = load_classifier(colour_scores, size=16)
    for wrong in (images(2) * 255, images(2) * float("nan"), images(2)[0], (images(2) * 255).byte(), images(2)[:0]):
        with pytest.raises(UsageError):
            clf.logits(wrong)


# -- ONNX ------------------------------------------------------------------------------------------


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
        return nn.Sequential(*layers).eval()


def write_onnx(path: Any, *, batch: int | None, size: int | None, last: bool = False, kind: str = "FLOAT") -> None:
    """The network of `net` as a hand-made ONNX graph."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    parts = [p.detach().numpy() for p in net().parameters()]
    names = ["conv_w", "conv_b", "fc_w", "fc_b"]
    side: Any = size or "H"
    shape = [batch or "N", side, side, 3] if last else [batch or "N", 3, side, side]
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=types.FLOAT),
        helper.make_node("Transpose", ["floats"], ["x"], perm=[0, 3, 1, 2] if last else [0, 1, 2, 3]),
        helper.make_node("Conv", ["x", "conv_w", "conv_b"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc_w", "fc_b"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", getattr(types, kind), shape)],
        [helper.make_tensor_value_info("scores", types.FLOAT, [batch or "N", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in zip(names, parts, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def write_grey_onnx(path: Any, *, last: bool, kind: str) -> np.ndarray[Any, Any]:
    """A graph of one channel: its three scores are the mean of the picture, times the weights that are returned."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    weights = np.array([[3.0, -2.0, 1.0]], np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=types.FLOAT),
        helper.make_node("Transpose", ["floats"], ["x"], perm=[0, 3, 1, 2] if last else [0, 1, 2, 3]),
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["scores"]),
    ]
    shape = ["N", 28, 28, 1] if last else ["N", 1, 28, 28]
    graph = helper.make_graph(
        nodes, "grey", [helper.make_tensor_value_info("images", getattr(types, kind), shape)],
        [helper.make_tensor_value_info("scores", types.FLOAT, ["N", 3])], [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return weights


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kind", "norm"), [("FLOAT", None), ("FLOAT", (0.1307, 0.3081)), ("UINT8", None)])
def test_an_onnx_file_of_one_channel_sees_grey_pictures_and_is_explained(tmp_path, last, kind, norm):
    pytest.importorskip("onnxruntime")
    weights = write_grey_onnx(tmp_path / "grey.onnx", last=last, kind=kind)
    said = {} if norm is None else {"mean": norm[0], "std": norm[1]}
    clf = load_classifier(f"onnx:{tmp_path / 'grey.onnx'}", **said, activation="softmax", classes=["a", "b", "c"])
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float64)
    value = grey.mean() if kind == "UINT8" else (grey.mean() / 255 - (norm or (0, 1))[0]) / (norm or (0, 1))[1]
    seen = clf.logits(clf.prepare([clf.read(pixels)])[0])[0].numpy()
    assert np.allclose(seen, value * weights[0], atol=0.5 * abs(weights).max() if kind == "UINT8" else 2e-2)
    assert any("one channel" in note for note in clf.notes)
    if kind == "FLOAT" and not last:
        found = saywhy.explain(clf, pixels, fast=True)
        assert found.text and "takes one channel" in saywhy.RENDERERS["text"].function(found).decode()


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("last", [False, True])
def test_an_onnx_file_gives_the_scores_of_its_network(tmp_path, batch, last):
    pytest.importorskip("onnxruntime")
    write_onnx(tmp_path / "net.onnx", batch=batch, size=16, last=last)
    clf = load_classifier(f"onnx:{tmp_path / 'net.onnx'}", mean=0.5, std=0.25)
    with torch.no_grad():
        expected = net()((images(6) - 0.5) / 0.25)
    assert clf.preprocess == Preprocess((16, 16), 18, (0.5,) * 3, (0.25,) * 3)
    assert (clf.logits(images(6)) - expected).abs().max() < 1e-5
    assert (clf.logits(images(6), batch_size=5) - expected).abs().max() < 1e-5
    assert not clf.white_box and clf.activation == "softmax"


def test_an_onnx_file_of_any_size_takes_the_users(tmp_path):
    pytest.importorskip("onnxruntime")
    write_onnx(tmp_path / "net.onnx", batch=None, size=None)
    assert load_classifier(f"onnx:{tmp_path / 'net.onnx'}").preprocess.size == (224, 224)
    clf = load_classifier(f"onnx:{tmp_path / 'net.onnx'}", size=(16, 24), classes=list("abcd"))
    assert clf.logits(images(2, 16, 24)).shape == (2, 4)
    with pytest.raises(UsageError, match="3 class names for a model with 4 scores"):
        load_classifier(f"onnx:{tmp_path / 'net.onnx'}", classes=list("abc"))


def test_an_onnx_file_that_takes_bytes_is_given_0_to_255(tmp_path):
    pytest.importorskip("onnxruntime")
    write_onnx(tmp_path / "net.onnx", batch=None, size=16, last=True, kind="UINT8")
    with torch.no_grad():
        expected = net()(images(2) * 255)
    assert torch.allclose(load_classifier(f"onnx:{tmp_path / 'net.onnx'}").logits(images(2)), expected, rtol=1e-4)


def test_an_onnx_file_that_is_none_or_takes_no_pictures_is_wrong_usage(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(UsageError, match="not an ONNX file"):
        load_classifier(f"onnx:{tmp_path / 'broken.onnx'}")
    write_onnx(tmp_path / "net.onnx", batch=None, size=16)
    with pytest.raises(UsageError, match="16 x 16 pixels only"):
        load_classifier(f"onnx:{tmp_path / 'net.onnx'}", size=32)
    with pytest.raises(UsageError, match="no separate weights"):
        load_classifier(f"onnx:{tmp_path / 'net.onnx'}", weights="weights.pt")
    value = onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["words"], ["scores"])],
        "text",
        [value("words", kinds.FLOAT, ["N", 7])],
        [value("scores", kinds.FLOAT, ["N", 7])],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9),
        str(tmp_path / "text.onnx"),
    )
    with pytest.raises(UsageError, match="expected images"):
        load_classifier(f"onnx:{tmp_path / 'text.onnx'}")


def test_the_fingerprint_of_an_onnx_file_is_that_of_its_content(tmp_path):
    pytest.importorskip("onnxruntime")
    for name in ("a.onnx", "b.onnx"):
        write_onnx(tmp_path / name, batch=None, size=16)
    a, b = (load_classifier(f"onnx:{tmp_path / name}").fingerprint for name in ("a.onnx", "b.onnx"))
    write_onnx(tmp_path / "b.onnx", batch=4, size=16)
    c = load_classifier(f"onnx:{tmp_path / 'b.onnx'}").fingerprint
    assert a == b != c


# -- servers ---------------------------------------------------------------------------------------

Answer = Callable[[BaseHTTPRequestHandler, bytes | None], None]


def decoded(body: bytes) -> Tensor:
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in json.loads(body)["images"]]
    return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1).float() / 255 for p in pictures])


def say(handler: BaseHTTPRequestHandler, value: Any, code: int = 200) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    handler.send_response(code)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def served(description: Any = None, answer: Answer | None = None) -> Answer:
    """A server that describes itself, or knows no GET, and answers with colour scores or as told."""

    def do(handler: BaseHTTPRequestHandler, body: bytes | None) -> None:
        if body is None:
            say(
                handler,
                {"error": "no GET"} if description is None else description,
                405 if description is None else 200,
            )
        elif answer is not None:
            answer(handler, body)
        else:
            say(handler, {"scores": colour_scores(decoded(body)).tolist()})

    return do


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self, None)

            def do_POST(self) -> None:
                answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/model"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.001)


def test_a_server_gives_the_scores_of_the_pictures(serve):
    clf = load_classifier(serve(served()), size=16, classes=["red", "green", "blue"])
    assert (clf.logits(images(5)) - colour_scores(images(5))).abs().max() < 1e-6
    assert clf.activation == "softmax" and not clf.white_box


def test_the_server_of_the_documents_answers_as_it_stands_there(serve):
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    (code,) = (b for b in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "do_POST" in b)
    start = re.search(r"^# (\w+\(.*\))\.serve_forever\(\)$", code, re.MULTILINE)[1].replace("8001", "0")
    names: dict[str, Any] = {}
    exec(code, names)
    server = eval(start, names)
    names["Handler"].log_message = lambda *args: None
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        clf = load_classifier(f"http://127.0.0.1:{server.server_address[1]}", size=16)
        plain = torch.stack([torch.full((16, 16), v) for v in (1.0, 0.0, 0.2)])[None]
        assert torch.allclose(clf.logits(plain), torch.tensor([[8.0, 0.0, 1.6]]))
        assert clf.activation == "softmax"
    finally:
        server.shutdown()
        server.server_close()


def test_what_a_server_says_of_itself_is_used_and_the_caller_wins(serve):
    description = {
        "name": "colours",
        "classes": ["red", "green", "blue"],
        "size": [16, 24],
        "resize": None,
        "activation": "sigmoid",
        "batch_size": 3,
        "fingerprint": "v1",
    }
    url = serve(served(description))
    clf = load_classifier(url)
    assert (clf.name, clf.class_names, clf.activation, clf.batch_size) == (
        "colours",
        ("red", "green", "blue"),
        "sigmoid",
        3,
    )
    assert (clf.preprocess.size, clf.preprocess.resize) == ((16, 24), None)
    picture, _ = clf.prepare([read(np.full((40, 40, 3), 200, np.uint8))])
    assert clf.logits(picture).shape == (1, 3)
    mine = load_classifier(url, classes=list("rgb"), activation="softmax", size=16, batch_size=1)
    assert (mine.class_names, mine.activation, mine.batch_size) == (("r", "g", "b"), "softmax", 1)
    description["fingerprint"] = "v2"
    assert load_classifier(url).fingerprint != clf.fingerprint


def test_a_server_that_answers_with_probabilities_is_recognised(serve):
    url = serve(served(answer=lambda h, b: say(h, {"scores": colour_scores(decoded(b)).softmax(1).tolist()})))
    clf = load_classifier(url, size=16)
    assert clf.activation == "none"
    assert torch.allclose(clf.probabilities(images(2)).sum(1), torch.ones(2))


def test_a_busy_server_is_asked_again(serve):
    asked: list[int] = []

    def busy(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        asked.append(1)
        if len(asked) % 3:
            return say(handler, {"error": "busy"}, 503)
        return say(handler, {"scores": [[0.0, 1.0]] * len(decoded(body))})

    clf = load_classifier(serve(served(answer=busy)), size=16, activation="softmax")
    asked.clear()
    assert clf.logits(images(2)).tolist() == [[0.0, 1.0]] * 2
    assert len(asked) == 3
    with pytest.raises(ModelError, match=r"503.*busy"):
        load_classifier(serve(served(answer=busy)), size=16, activation="softmax", retries=0).logits(images(1))


def too_much(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10):
        handler.wfile.write(b" " * 1000)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda h, b: say(h, {"error": "no such bird"}, 400), "400.*no such bird"),
        (lambda h, b: say(h, b"<html>"), "no JSON"),
        (lambda h, b: say(h, [1, 2]), "expected an object"),
        (lambda h, b: say(h, {}), "expected one list"),
        (lambda h, b: say(h, {"scores": [[0.0, 1.0]]}), r"answered \d images"),
        (lambda h, b: say(h, {"scores": [[0.0, 1.0], [0.0]]}), "equally long"),
        (lambda h, b: say(h, {"scores": [["red"], ["blue"]]}), "expected one list"),
        (lambda h, b: say(h, b'{"scores": [' + b", ".join([b"[NaN, 1]"] * len(decoded(b))) + b"]}"), "NaN"),
        (too_much, "more than"),
    ],
)
def test_a_server_that_answers_wrongly_is_a_model_error(serve, monkeypatch, answer, words):
    monkeypatch.setattr(remote, "MAX_ANSWER", 5000)
    with pytest.raises(ModelError, match=words):
        load_classifier(serve(served(answer=answer)), size=16, activation="softmax")


@pytest.mark.parametrize(
    "description",
    [
        {"classes": [1]},
        {"classes": []},
        {"activation": "relu"},
        {"size": 224},
        {"size": [0, 9]},
        {"size": [9, 9], "resize": 3},
    ],
)
def test_a_server_that_describes_itself_wrongly_is_a_model_error(serve, description):
    with pytest.raises(ModelError, match="describes itself"):
        load_classifier(serve(served(description)))


def test_redirects_are_not_followed(serve):
    reached: list[int] = []
    elsewhere = serve(lambda handler, body: reached.append(1))

    def redirect(handler: BaseHTTPRequestHandler, body: bytes | None) -> None:
        handler.send_response(307)
        handler.send_header("Location", elsewhere)
        handler.end_headers()

    with pytest.raises(ModelError, match="redirects to http"):
        load_classifier(serve(redirect), size=16)
    assert not reached


def test_proxies_of_the_environment_are_not_used(serve, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert load_classifier(serve(served()), size=16).logits(images(1)).shape == (1, 3)


def test_a_slow_server_is_given_up(serve):
    url = serve(served(answer=lambda h, b: time.sleep(0.6)))
    with pytest.raises(ModelError, match=r"cannot be reached.*0\.2 s"):
        load_classifier(url, size=16, activation="softmax", timeout=0.2, retries=0)


def test_an_unreachable_server_is_a_model_error_that_names_the_way_out():
    with pytest.raises(ModelError, match="check that the model server runs"):
        load_classifier("http://127.0.0.1:9/model", timeout=1, retries=1)


@pytest.mark.parametrize("url", ["http://user:secret@127.0.0.1/", "http:///x", "http://a b/", "https://host:port/"])
def test_an_address_that_cannot_be_one_is_wrong_usage(url):
    with pytest.raises(UsageError, match="address") as caught:
        load_classifier(url)
    assert "secret" not in str(caught.value)
