"""What is imported is declared, what is declared is imported, and the source distribution holds its own tests."""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import saywhy

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
BOUND = re.compile(r"^([A-Za-z0-9._-]+)(>=|==)([\w.]+)$")
LARGE = ("ray",)  # with code in the package, and not in `all`
PARTS = ("timm", "hf", "onnx", "captum", "heif", "text", "store", *LARGE)  # extras with code in the package


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def bounds(rows):
    return {normal(m[1]): m[3] for row in rows if (m := BOUND.match(row))}


def imported(folder):
    """Third-party distributions that the Python files of a folder import, also by a text given to import_module."""
    known, found = packages_distributions(), set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                found |= {a.value.split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    outside = found - sys.stdlib_module_names - {"saywhy"}
    return {normal(known[name][0]) if name in known else normal(name) for name in outside}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    declared = bounds(PROJECT["dependencies"])
    for part in PARTS:
        declared |= bounds(EXTRAS[part])
    assert imported(ROOT / "src") == set(declared)


def test_extras_are_those_with_code_and_the_documents_name_no_other():
    assert set(EXTRAS) == {*PARTS, "all", "test"}
    assert set(re.findall(r"[a-z]+", EXTRAS["all"][0].split("[")[1])) == set(PARTS) - set(LARGE)
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for line in re.findall(r"pip install.*", page.read_text(encoding="utf-8")):
            asked = {
                name.strip() for names in re.findall(r"(?:\.|saywhy)\[([a-z, ]+)\]", line) for name in names.split(",")
            }
            assert asked <= set(EXTRAS), (page.name, line)


@pytest.mark.parametrize("extra", PARTS)
def test_an_error_about_a_missing_package_names_an_extra_that_exists(extra):
    text = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r'ExtraMissing\([^,]+, "([a-z]+)"', text)) | set(
        re.findall(r"saywhy's extra '([a-z]+)'", text)
    )
    assert named <= set(EXTRAS) and extra in named


def test_the_lowest_versions_that_are_tested_are_the_lowest_that_are_allowed():
    allowed = bounds(PROJECT["dependencies"])
    for part in PARTS:
        allowed |= bounds(EXTRAS[part])
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    tested = bounds(line for line in lines if not line.startswith("#"))

    def padded(version):
        return tuple(int(n) for n in version.split(".") + ["0"] * (3 - len(version.split("."))))

    assert {n: padded(v) for n, v in tested.items()} == {n: padded(v) for n, v in allowed.items()}


def test_constraints_hold_every_declared_package():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    fixed = set(bounds(line for line in lines if "==" in line and not line.startswith("#")))
    declared = {name for rows in (PROJECT["dependencies"], *EXTRAS.values()) for name in bounds(rows)}
    assert declared <= fixed


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The names in the source distribution and in the wheel, built from a copy of the tree."""
    place = tmp_path_factory.mktemp("built")
    skip = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "demo", "__pycache__")
    shutil.copytree(ROOT, place / "tree", ignore=skip)
    code = (
        "from setuptools import build_meta as b; import os; os.makedirs('../out')\n"
        "print(b.build_sdist('../out')); print(b.build_wheel('../out'))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=place / "tree", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    (source,), (wheel,) = (place / "out").glob("*.tar.gz"), (place / "out").glob("*.whl")
    with tarfile.open(source) as archive:
        names = {"/".join(n.split("/")[1:]) for n in archive.getnames()}
    return names, wheel


def test_the_source_distribution_holds_all_that_its_tests_need(built):
    names, _ = built
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    needed = [f for f in listed.stdout.splitlines() if not f.startswith(".")] or ["tests/tiny.py", "docs/reference.md"]
    assert [f for f in needed if f not in names] == []
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]


def test_the_version_stands_once_and_the_wheel_has_it_and_the_list_of_public_names(built):
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]
    _, wheel = built
    assert wheel.name.startswith(f"saywhy-{saywhy.__version__}-")
    shutil.unpack_archive(wheel, wheel.parent / "open", "zip")
    held = {str(p.relative_to(wheel.parent / "open" / "saywhy")) for p in (wheel.parent / "open" / "saywhy").rglob("*")}
    assert {"__init__.pyi", "py.typed", "aviary/weights/cnn.safetensors", "render/templates/explanation.html"} <= held
    source = ROOT / "src" / "saywhy"
    files = {str(p.relative_to(source)) for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert files <= held  # the templates of the parts, too
