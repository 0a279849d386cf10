"""The user's own code, and the small networks of the synthetic birds."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saywhy.classifier import Classifier
from saywhy.errors import UsageError, unknown
from saywhy.locking import seeded
from saywhy.zoo.bound import check_one_input
from saywhy.zoo.config import Found, Options, load_state, read_weights, said_of


@contextmanager
def _folder_on_path() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def load_factory(spec: str, options: Options) -> Found | Classifier:
    """Calls `module:factory`, found from the working folder or installed; it returns an nn.Module, a Classifier or a
    callable images (N, 3, H, W) in [0, 1] -> scores (N, C). Weights are loaded into the nn.Module.

    Raises:
        UsageError: no such module or function, it fails, or returns something else.
    """
    module_name, name = spec.split(":")
    with _folder_on_path():
        factory = _factory(module_name, name)
        with seeded(0):
            try:
                made = factory()
            except Exception as e:
                raise UsageError(f"{spec}() raised {type(e).__name__}: {e}; it must work without arguments") from e
    net = made.net if isinstance(made, Classifier) else made
    if not callable(net):
        raise UsageError(
            f"{spec}() returned {type(made).__name__}; it must return an nn.Module, a saywhy.Classifier, or a callable "
            "images -> scores"
        )
    check_one_input(net)
    if options.weights not in (None, "random"):
        if not isinstance(net, nn.Module):
            raise UsageError(f"{spec}() returned no nn.Module that weights could be loaded into")
        load_state(net, read_weights(options.weights), options.weights)
    if isinstance(made, Classifier):
        return made if made.lasting else replace(made, black_box_fingerprint=spec, _points={})
    return Found(net, spec, fingerprint=spec)


def function_of(spec: str) -> Callable[..., Any]:
    """The function that `module:function` names, found from the working folder or installed.

    Raises:
        UsageError: no such module or function, or the import fails.
    """
    module_name, colon, name = spec.partition(":")
    if not colon:
        raise UsageError(f"{spec!r}: a function is named module:function")
    with _folder_on_path():
        return _factory(module_name, name)


def _factory(module_name: str, name: str) -> Callable[..., Any]:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        raise UsageError(
            f"no Python module {e.name!r} (for {module_name}:{name}); run from the folder that holds it, or install it"
        ) from e
    except Exception as e:
        raise UsageError(f"importing {module_name} raised {type(e).__name__}: {e}") from e
    factory = getattr(module, name, None)
    if factory is None:
        raise unknown(f"function of {module_name}", name, [n for n in vars(module) if not n.startswith("_")])
    if not callable(factory):
        raise UsageError(f"{module_name}:{name} is a {type(factory).__name__}, not a function")
    return factory  # type: ignore[no-any-return]


def load_script(name: str, options: Options) -> Found:
    """A program of TorchScript, of which only the scores are known.

    Raises:
        UsageError: no such file, or no program of TorchScript.
    """
    if not Path(name).is_file():
        raise UsageError(f"torchscript:{name}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer torch calls it deprecated, and reads it all the same
            net = torch.jit.load(name, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as e:
        way = "for a file of weights, name the network: --model timm:NAME --weights FILE"
        raise UsageError(f"torchscript:{name}: no program of TorchScript ({said_of(e)}); {way}") from e
    return Found(net.eval(), f"torchscript:{Path(name).name}")


def load_aviary(name: str, options: Options) -> Found:
    """A classifier of the synthetic birds, with its own weights or those of `options.weights`.

    Raises:
        UsageError: no such classifier, or weights that are not those that its card describes.
    """
    from saywhy.aviary.classifiers import CLASSIFIERS

    if name not in CLASSIFIERS:
        if not CLASSIFIERS:
            raise UsageError(f"unknown aviary classifier {name!r}; this installation has none")
        raise unknown("aviary classifier", name, CLASSIFIERS)
    untrained = {"trained": False} if options.weights == "random" else {}
    found = Found(**{"name": f"aviary:{name}", "vouched": True, **CLASSIFIERS[name](**untrained)})
    if options.weights not in (None, "random"):
        assert isinstance(found.net, nn.Module)
        load_state(found.net, read_weights(options.weights), options.weights)
    return found
