"""How the code is built, in figures: files, functions, names that stand twice, circles, and the way of one photo.

    python benchmarks/structure.py [--root src/saywhy] [--hops] [-o FILE.json [--under after]]

A circle counts imports inside functions too, but not those for the type checker alone. `--hops` runs one explanation
and counts the modules whose functions it called. `--under` puts the figures under that key of the file, beside those
that stand there under others; benchmarks/results/structure.json holds "before" and "after".
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1] / "src" / "saywhy"
Functions = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Functions]:
    return (node for node in ast.walk(tree) if isinstance(node, Functions))


def length(node: Functions) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def typed(node: Functions) -> bool:
    given = [
        a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")
    ]
    return node.returns is not None or (bool(given) and all(a.annotation for a in given))


def module(file: Path, root: Path) -> str:
    parts = file.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that are imported, "package.name" included, as it may be a module."""
    for node in ast.iter_child_nodes(tree):
        if _is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a ring (strongly connected components of two and more)."""

    def reach(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            for other in edges[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        return seen

    reached = {m: reach(m) for m in edges}
    rings = {tuple(sorted({m, *(o for o in reached[m] if m in reached[o])})) for m in edges if m in reached[m]}
    return [list(ring) for ring in sorted(rings)]


def figures(root: Path) -> dict[str, Any]:
    trees = {f: ast.parse(f.read_text()) for f in sorted(root.rglob("*.py"))}
    lines = [len(f.read_text().splitlines()) for f in trees]
    every = [node for tree in trees.values() for node in functions(tree)]
    lengths = sorted(length(node) for node in every)
    names = Counter(f.name for f in trees if f.name not in ("__init__.py", "__main__.py"))
    classes = Counter(n.name for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    known = {module(f, root) for f in trees}
    edges = {
        module(f, root): {name for name in imports(tree) if name in known} - {module(f, root)}
        for f, tree in trees.items()
    }
    # A package's own __init__ is imported with every module of it: no circle.
    edges = {m: {o for o in others if not m.startswith(f"{o}.")} for m, others in edges.items()}
    return {
        "files": len(lines),
        "lines": sum(lines),
        "median_file": statistics.median(lines),
        "longest_file": max(lines),
        "functions": len(every),
        "function_lines": {
            "median": statistics.median(lengths),
            "p90": lengths[int(0.9 * len(lengths))],
            "longest": lengths[-1],
        },
        "typed": round(sum(map(typed, every)) / len(every), 4),
        "file_names_twice": sorted(name for name, count in names.items() if count > 1),
        "class_names_twice": sorted(name for name, count in classes.items() if count > 1),
        "circles": circles(edges),
    }


def hops() -> list[str]:
    """The modules of saywhy whose functions one `explain` of a photo calls."""
    import skimage.data

    import saywhy

    clf = saywhy.load_classifier()
    saywhy.explain(clf, skimage.data.chelsea())  # what is imported late is no hop
    called: set[str] = set()

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            name = frame.f_globals.get("__name__", "")
            if name.startswith("saywhy"):
                called.add(name)

    sys.setprofile(note)
    try:
        saywhy.explain(clf, skimage.data.chelsea())
    finally:
        sys.setprofile(None)
    return sorted(called)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--hops", action="store_true")
    parser.add_argument("-o", type=Path)
    parser.add_argument("--under")
    given = parser.parse_args()
    found = figures(given.root)
    if given.hops:
        way = hops()
        found |= {"hops": len(way), "way_of_one_photo": way}
    if given.under:
        known = json.loads(given.o.read_text()) if given.o.is_file() else {}
        found = known | {given.under: known.get(given.under, {}) | found}
    text = json.dumps(found, indent=1)
    if given.o:
        given.o.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
