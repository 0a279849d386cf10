"""Set-up of every test process: one torch thread in each worker, and torchvision's missing operators."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest

SHIM = Path(__file__).parent / "shim"

# Child processes (the command line under test, spawned workers) read this when they start.
os.environ["PYTHONPATH"] = os.pathsep.join([str(SHIM), *filter(None, [os.environ.get("PYTHONPATH")])])
if str(SHIM) not in sys.path and (SHIM / "sitecustomize.py").exists():
    # Pytest was started without the shim on its path: this process has to run it by hand.
    runpy.run_path(str(SHIM / "sitecustomize.py"))

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=os.environ.get("SAYWHY_TEST_DEVICE", "").startswith("cuda"), scope="session")
def _full_float32():
    """Tests compare to 1e-4 and finer; tensor cores round to 1e-3. benchmarks/gpu.py measures what that does."""
    from saywhy.precision import exactly

    with exactly():
        yield


@pytest.fixture(autouse=os.environ.get("SAYWHY_TEST_DEVICE") == "lazy")
def _second_device():
    """All that a test asks of its classifiers is asked on the second device, without a GPU."""
    from second_device import second_device

    with second_device():
        yield
