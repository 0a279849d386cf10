"""Model servers as black boxes, over a small JSON protocol (docs/models.md): PNG images in, scores out.

Nothing but the given address is asked: no proxy of the environment is used and no redirect is followed.
"""

from __future__ import annotations

import base64
import io
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saywhy.classifier import Activation
from saywhy.errors import ModelError, UsageError
from saywhy.image import Preprocess
from saywhy.zoo.class_names import names_of
from saywhy.zoo.config import Found, Options, resized
from saywhy.zoo.inputs import assumed_framing, check_normalises

MAX_ANSWER = 64 * 1024 * 1024
BUSY = (408, 425, 429, 500, 502, 503, 504)  # worth another try
NO_DESCRIPTION = (404, 405, 501)  # the server knows no GET: allowed
FIRST_WAIT = 0.25  # seconds; doubled at each try


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = build_opener(ProxyHandler({}), _NoRedirect())


@dataclass(frozen=True)
class HttpScores:
    """Images (N, 3, H, W) in [0, 1] -> scores (N, C) of a server; one POST of N pictures."""

    url: str
    timeout: float = 30.0
    retries: int = 2

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N, C); pixels are rounded to 8 bits on the way."""
        body = json.dumps({"images": [_png(image) for image in images.detach().cpu()]}).encode()
        answer = self.ask(body)
        scores = answer.get("scores")
        try:
            values: np.ndarray[Any, Any] = np.asarray(scores, dtype=np.float32)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.ndim != 2 or len(values) != len(images):
            got = f"shape {values.shape}" if values.ndim else type(scores).__name__
            raise ModelError(
                f'{self.url} answered {len(images)} images with "scores" of {got}; expected one list of class scores '
                "an image, all equally long"
            )
        return torch.from_numpy(values)

    def ask(self, body: bytes | None) -> Mapping[str, Any]:
        """The JSON object that answers a POST of `body`, or a GET where it is None.

        Raises:
            ModelError: no answer in time after all tries, an HTTP error, too large, or no JSON object.
        """
        request = Request(self.url, body, {"Content-Type": "application/json", "Accept": "application/json"})
        for tried in range(self.retries + 1):
            try:
                return self._once(request)
            except HTTPError as e:
                if body is None and e.code in NO_DESCRIPTION:
                    return {}
                if e.code not in BUSY or tried == self.retries:
                    raise self._refused(e) from e
            except (URLError, OSError) as e:  # refused, reset, timed out
                if tried == self.retries:
                    reason = getattr(e, "reason", None) or e
                    raise ModelError(
                        f"{self.url} cannot be reached ({reason}; {tried + 1} tries of {self.timeout:g} s); check that "
                        "the model server runs and the address, or raise `timeout`"
                    ) from e
            time.sleep(FIRST_WAIT * 2**tried)
        raise AssertionError("unreachable")

    def _refused(self, error: HTTPError) -> ModelError:
        if 300 <= error.code < 400:
            return ModelError(
                f"{self.url} redirects to {error.headers.get('Location')}; give that address if you trust it"
            )
        text = error.read(300).decode("utf-8", "replace").strip()
        return ModelError(f"{self.url} answered with HTTP {error.code} {error.reason}" + (f": {text}" if text else ""))

    def _once(self, request: Request) -> Mapping[str, Any]:
        until = time.monotonic() + self.timeout
        chunks, length = [], 0
        with _OPENER.open(request, timeout=self.timeout) as answer:
            while chunk := answer.read1(1 << 16):
                chunks.append(chunk)
                length += len(chunk)
                if length > MAX_ANSWER:
                    raise ModelError(f"{self.url} answered with more than {MAX_ANSWER >> 20} MiB; lower `batch_size`")
                if time.monotonic() > until:  # a server that drips would pass the socket's own timeout
                    raise TimeoutError("the answer took too long")
        try:
            value = json.loads(b"".join(chunks))
        except ValueError as e:
            raise ModelError(f"{self.url} answered with something that is no JSON ({e})") from e
        if not isinstance(value, dict):
            raise ModelError(f"{self.url} answered with a JSON {type(value).__name__}; expected an object")
        return value


def _png(image: Tensor) -> str:
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue()).decode("ascii")


def load_http(url: str, options: Options) -> Found:
    """A model server; what it says of itself in answer to a GET fills in what the user did not say.

    Raises:
        UsageError: an address that cannot be one.
        ModelError: it does not answer, or describes itself wrongly.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise UsageError(f"{url}: not an address ({e})") from e
    if not parts.hostname or any(c.isspace() for c in url):
        raise UsageError(f"{url}: not an address; the form is http://host:port/path")
    if parts.username or parts.password:
        raise UsageError("an address with a user name or password in it is not used: it would be shown in every report")
    server = HttpScores(url, options.timeout, options.retries)
    said = server.ask(None)
    if replace(Preprocess(), bands=options.bands).planes != 3:
        raise UsageError(f"{url} is sent pictures in colours: bands names one of a file, or three")
    check_normalises(url, options)
    preprocess = Preprocess(size=_said_size(url, said), mean=(0.0,) * 3, std=(1.0,) * 3)
    preprocess = replace(preprocess, resize=_said_resize(url, said, preprocess))
    classes, activation = said.get("classes"), said.get("activation")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(c, str) for c in classes) and classes):
        raise ModelError(f'{url} describes itself with "classes" that are no list of names')
    if activation is not None and activation not in get_args(Activation):
        raise ModelError(
            f"{url} describes itself with activation {activation!r}; known: {', '.join(get_args(Activation))}"
        )
    batch = said.get("batch_size")
    return Found(
        server,
        str(said.get("name") or url),
        None if classes is None else names_of({"classes": classes}, "the server"),
        preprocess,
        activation,
        batch_size=batch if isinstance(batch, int) and batch > 0 else None,
        fingerprint=f"{url} {said.get('fingerprint', '')}",
        notes=tuple(assumed_framing(resized(preprocess, options), options, known=said.keys())),
        framed=True,
    )


def _said_size(url: str, said: Mapping[str, Any]) -> tuple[int, int]:
    size = said.get("size", [224, 224])
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(v, int) and 0 < v <= 4096 for v in size)):
        raise ModelError(f'{url} describes itself with "size" {size!r}; expected [height, width] in pixels')
    return size[0], size[1]


def _said_resize(url: str, said: Mapping[str, Any], preprocess: Preprocess) -> int | None:
    resize = said.get("resize", math.ceil(min(preprocess.size) * 256 / 224))
    if resize is not None and not (isinstance(resize, int) and resize >= min(preprocess.size)):
        raise ModelError(
            f'{url} describes itself with "resize" {resize!r}; expected a number of pixels of at least "size"'
        )
    return resize
