import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import saywhy

NAMES = [
    "audit",
    "aviary",
    "bind",
    "evaluate",
    "find_images",
    "improve",
    "METHODS",
    "METRICS",
    "RENDERERS",
    "Classifier",
    "Explainer",
    "Explanation",
    "ExtraMissing",
    "InputError",
    "ModelError",
    "Preprocess",
    "SaywhyError",
    "UsageError",
    "__version__",
    "explain",
    "explain_each",
    "load_classifier",
    "read",
    "RegionScores",
    "region_target",
    "saliency",
    "search",
]


def test_exported_names_are_exactly_these():
    assert sorted(saywhy.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(saywhy))


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_can_be_had(name):
    assert getattr(saywhy, name) is not None


FOLDERS = ("audit", "aviary", "evaluate", "improve", "search")


def test_a_name_is_one_line_that_type_checkers_read_too():
    stub = Path(saywhy.__file__).with_suffix(".pyi")
    lines = [n for n in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(n, ast.ImportFrom)]
    assert len(lines) == len(NAMES) - 1, "one import a line; the version is no import"
    for line in lines:
        (alias,) = line.names
        assert alias.asname == alias.name, "type checkers take a name for public where it is imported `as` itself"
        module = importlib.import_module(line.module if line.module != "saywhy" else f"saywhy.{alias.name}")
        found = getattr(saywhy, alias.asname)
        assert found is (module if alias.asname in (*FOLDERS, "saliency") else getattr(module, alias.name))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_public_folder_says_what_is_public_in_it(folder):
    module = getattr(saywhy, folder)
    assert module.__doc__ and module.__all__
    assert [n for n in module.__all__ if getattr(module, n) is None] == []
    reference = (Path(__file__).parents[1] / "docs" / "reference.md").read_text(encoding="utf-8")
    assert [n for n in module.__all__ if f"saywhy.{folder}.{n}" not in reference] == []


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
