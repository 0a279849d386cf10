"""Every verb, option and row of a table is documented, and what the documents say exists."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import saywhy
from saywhy.concepts.discovery import DISCOVERY
from saywhy.concepts.extraction import EXTRACTION
from saywhy.improve import REMEDIES
from saywhy.intervene import FILLS
from saywhy.search import FUSIONS
from saywhy.spaces import TEXT_SPACES
from saywhy.zoo import LOADERS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
RUN = [p for p in PAGES if p.name in ("README.md", "tutorial.md", "models.md") or p.parent.name == "how-to"]
MAKE = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))
VERBS = MAKE["verbs"]()


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def shell_lines(page):
    commented = [line for block in blocks(page, "sh") for line in block.splitlines()]
    inline = re.findall(r"`((?:saywhy|make) [^`]+)`", page.read_text(encoding="utf-8"))
    run = re.findall(r"<!-- run: (.*?) -->", page.read_text(encoding="utf-8"))
    return [line for line in commented + inline + run if re.match(r"(\.venv/bin/)?(saywhy|make) ", line)]


def test_the_reference_is_up_to_date():
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == MAKE["page"](), "run make docs"


def test_the_tables_of_the_store_are_up_to_date():
    assert (ROOT / "docs" / "store.md").read_text(encoding="utf-8") == MAKE["store_page"](), "run make docs"


def test_the_readme_lists_exactly_the_verbs_that_exist():
    listed = re.findall(r"^\| `saywhy ([a-z-]+)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_says_what_it_does(verb):
    command = VERBS[verb]
    assert command.help
    assert [p.name for p in command.params if p.name != "help" and not p.help] == []


TABLES = {
    "saliency": saywhy.METHODS,
    "metrics": saywhy.METRICS,
    "renderers": saywhy.RENDERERS,
    "text spaces": TEXT_SPACES,
    "fills": FILLS,
    "remedies": REMEDIES,
    "fusions": FUSIONS,
    "where concepts are looked for": EXTRACTION,
    "how concepts are found": DISCOVERY,
    "models": {row.form: row for row in LOADERS},
}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_says_what_it_is_and_is_in_the_reference(table):
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for name, row in TABLES[table].items():
        assert getattr(row, "summary", None) or row.what, name
        assert f"`{name}`" in reference, name


def test_every_method_and_metric_names_its_paper():
    papers = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    for name in saywhy.METHODS:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", papers), name
    for name, row in {**saywhy.METHODS, **saywhy.METRICS}.items():
        assert row.source, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_documents_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in shell_lines(page):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert words[1] in targets, line
            continue
        if words[1].startswith("-") or not words[1].isidentifier():
            continue
        assert words[1] in VERBS, line
        known = {o for p in VERBS[words[1]].params for o in [*p.opts, *p.secondary_opts]} | {"--help"}
        assert {w.split("=")[0] for w in words[2:] if w.startswith("-") and len(w) > 1} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_in_the_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_the_documents_is_python_and_its_names_exist(page):
    for block in blocks(page, "python"):
        if page.name == "reference.md":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "saywhy":
                assert hasattr(saywhy, node.attr), node.attr


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_python_on_the_pages_for_users_runs(page, tmp_path):
    code = "\n".join(blocks(page, "python"))
    if not code:
        pytest.skip("no python on this page")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_options_and_make_targets_are_told():
    told = (ROOT / "Makefile").read_text(encoding="utf-8").split("SHELL")[0]
    for target in ("demo", "test", "coverage", "versions", "check", "lint", "docs"):
        assert f"make {target} " in told
