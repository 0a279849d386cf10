import ast
import subprocess
import sys
from pathlib import Path

import pytest

import saywhy

NAMES = [
    "METHODS",
    "METRICS",
    "RENDERERS",
    "Classifier",
    "Explanation",
    "ExtraMissing",
    "InputError",
    "ModelError",
    "Preprocess",
    "SaywhyError",
    "UsageError",
    "__version__",
    "explain",
    "load_classifier",
    "read",
    "RegionScores",
    "region_target",
    "saliency",
]


def test_exported_names_are_exactly_these():
    assert sorted(saywhy.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(saywhy))


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_can_be_had(name):
    assert getattr(saywhy, name) is not None


def test_what_a_type_checker_sees_is_what_python_finds():
    tree = ast.parse(Path(saywhy.__file__).read_text())
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {**saywhy._HOME, "saliency": "saywhy.saliency"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="salience"):
        _ = saywhy.salience


@pytest.mark.parametrize(
    "first",
    [
        "import saywhy",
        "import saywhy.saliency",
        "from saywhy.saliency import METHODS",
        "from saywhy import saliency",
        "import saywhy.saliency.cam, saywhy",
    ],
)
def test_saliency_is_a_function_and_a_folder_whatever_is_imported_first(first):
    code = (
        f"{first}\nimport saywhy\nfrom saywhy.saliency import METHODS\nassert 'grad-cam' in METHODS\n"
        "assert callable(saywhy.saliency) and saywhy.saliency.METHODS is METHODS\n"
        "import saywhy.saliency as folder\nassert folder is saywhy.saliency\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_importing_the_package_imports_no_torch():
    code = "import sys, saywhy; dir(saywhy); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
