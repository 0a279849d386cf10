"""Graphs of concepts for other programs: NetworkX and GraphML, out and in again without a loss.

A graph is what `parts["graph"]["hypotheses"]` of a record or `class_graph` gives. In NetworkX its values are attributes
of one level: what is nested has dots in its name, lists are JSON, and `none` names what has no value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from saywhy.errors import InputError

Row = dict[str, Any]
LISTED, NONE, EMPTY = (
    "[]",
    "none",
    "{}",
)  # ends of names: a list, and an empty dictionary; the attribute of what is None
LARGEST = 64 << 20  # bytes of a file


def to_networkx(graph: Mapping[str, Any]) -> nx.DiGraph:
    """A directed graph with a node for each concept, by its id, and an edge from each pair's source to its target."""
    out = nx.DiGraph(**_flat({k: v for k, v in graph.items() if k not in ("nodes", "edges")}))
    for n, node in enumerate(graph["nodes"]):
        out.add_node(node["concept"], **_flat({k: v for k, v in node.items() if k != "concept"}), rank=n)
    for n, edge in enumerate(graph["edges"]):
        own = {k: v for k, v in edge.items() if k not in ("source", "target")}
        out.add_edge(edge["source"], edge["target"], **_flat(own), rank=n)
    return out


def from_networkx(found: nx.DiGraph) -> Row:
    """The graph that `to_networkx` was given.

    Raises:
        InputError: it is of another kind.
    """
    try:
        nodes = sorted(found.nodes(data=True), key=lambda row: row[1]["rank"])
        edges = sorted(found.edges(data=True), key=lambda row: row[2]["rank"])
        return _deep(found.graph) | {
            "nodes": [{"concept": str(id), **_deep(own)} for id, own in nodes],
            "edges": [{"source": str(a), "target": str(b), **_deep(own)} for a, b, own in edges],
        }
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InputError(f"this is no graph of concepts as saywhy writes them ({type(e).__name__}: {e})") from e


def to_graphml(graph: Mapping[str, Any]) -> bytes:
    """The graph as GraphML."""
    return ("\n".join(nx.generate_graphml(to_networkx(graph))) + "\n").encode()


def from_graphml(source: str | Path | bytes) -> Row:
    """The graph in a GraphML file, or in its bytes.

    Raises:
        InputError: it cannot be read, is too large, defines entities, or is of another kind.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    name = "GraphML" if isinstance(source, bytes) else str(source)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{name}: defines entities, which no graph needs; it is not read")
    try:
        found = nx.parse_graphml(data.decode("utf-8"))
    except Exception as e:
        raise InputError(f"{name}: cannot be read as GraphML ({type(e).__name__}: {e})") from e
    return from_networkx(found)


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(f"{file}: larger than {LARGEST >> 20} MB, which no graph of concepts is")
        return file.read_bytes()
    except OSError as e:
        raise InputError(f"{file}: cannot be read ({e.strerror or e})") from e


def _flat(row: Mapping[str, Any]) -> Row:
    values = dict(_levels(row))
    missing = [name for name, value in values.items() if value is None]
    out = {name: value for name, value in values.items() if value is not None}
    return out | ({NONE: json.dumps(missing)} if missing else {})


def _levels(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _levels(value, f"{before}{name}.")
        elif isinstance(value, Mapping):
            yield f"{before}{name}{EMPTY}", True
        elif isinstance(value, (list, tuple)):
            yield f"{before}{name}{LISTED}", json.dumps(value)
        else:
            yield f"{before}{name}", value


def _deep(flat: Mapping[str, Any]) -> Row:
    own = {name: value for name, value in flat.items() if name not in (NONE, "rank", "node_default", "edge_default")}
    own |= dict.fromkeys(json.loads(flat.get(NONE, "[]")))
    out: Row = {}
    for path, value in own.items():
        *above, name = path.split(".")
        at = out
        for step in above:
            at = at.setdefault(step, {})
        if name.endswith(EMPTY):
            at[name.removesuffix(EMPTY)] = {}
        elif name.endswith(LISTED):
            at[name.removesuffix(LISTED)] = json.loads(value)
        else:
            at[name] = value
    return out
