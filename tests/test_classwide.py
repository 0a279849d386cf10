"""The mean graph of a class over many pictures, and graphs for other programs."""

import json
import statistics
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from saywhy import Explainer
from saywhy.cli import app
from saywhy.errors import InputError, UsageError
from saywhy.passes import counting
from saywhy.reasoning import classwide_page, distilling, interchange
from saywhy.reasoning.classwide import class_graph, mean_graph, spread
from saywhy.reasoning.classwide_page import by, line, page, text
from saywhy.reasoning.interchange import from_graphml, from_networkx, to_graphml, to_networkx
from test_concepts import patchy
from test_reasoning import FEW, bank, clf, fitted, photos  # noqa: F401  # fixtures


def node(id, contribution, *, present=True, **own):
    given = {"contrast": None, "share": contribution / 2, "importance": 0.5, "measured": contribution + 0.1}
    known = given if present else dict.fromkeys(given)
    return {"concept": id, "name": None, "present": present, "place": "top" if present else None, "box": [1, 2, 3, 4],
            "contribution": contribution, **known, **own}  # fmt: skip


def edge(a, b, contribution, relation="above"):
    return {"source": a, "target": b, "relation": relation, "distance": 0.2, "contribution": contribution,
            "contrast": None, "together": 0.0, "slice": 0.1}  # fmt: skip


def record(nodes, edges, faithful=True, c=0):
    return {"faithful": faithful, "hypotheses": [{"class_index": 9, "nodes": [], "edges": []},
            {"class_index": c, "class_name": "red", "nodes": nodes, "edges": edges}]}  # fmt: skip


# --------------------------------------------------------------------------------------------------
# The mean graph.


def test_nodes_and_edges_are_averaged_over_the_faithful_pictures_that_have_them():
    found = mean_graph(
        [
            record([node("1", 0.2), node("2", 0.4)], [edge("1", "2", 0.1)]),
            record([node("1", 0.6), node("2", 0.0, present=False)], []),
            record([node("2", 0.6), node("1", 0.1, place="left")], [edge("2", "1", 0.3, "below")]),
            record([node("1", 9.0), node("2", 9.0)], [edge("1", "2", 9.0)], faithful=False),
        ],
        0,
    )
    assert found["pictures"] == 4 and found["faithful"] == 3
    two, one = found["nodes"]
    assert two["concept"] == "2" and two["present"] == 2 and two["contribution"] == {
        "mean": 0.5, "sd": pytest.approx(statistics.stdev([0.4, 0.6])), "of": 2}  # fmt: skip
    assert one["present"] == 3 and one["contribution"]["mean"] == pytest.approx(0.3)
    assert one["places"] == {"top": 2, "left": 1} and one["contrast"] is None
    (only,) = found["edges"]
    assert (only["source"], only["target"], only["present"]) == ("1", "2", 2), "either direction is one pair"
    assert only["contribution"]["mean"] == pytest.approx(0.2) and only["relations"] == {"above": 1}


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_graph_is_what_counting_by_hand_gives(seed):
    random = np.random.default_rng(seed)
    records = [
        record(
            [node(str(j), float(random.normal()), present=bool(random.random() < 0.7)) for j in random.permutation(4)],
            [], faithful=bool(random.random() < 0.7),
        )
        for _ in range(12)
    ]  # fmt: skip
    found = mean_graph(records, 0)
    values = {
        id: [n["contribution"] for r in records if r["faithful"] for n in r["hypotheses"][1]["nodes"]
             if n["concept"] == id and n["present"]]
        for id in "0123"
    }  # fmt: skip
    for n in found["nodes"]:
        own = values[n["concept"]]
        assert n["present"] == len(own)
        if own:
            assert n["contribution"]["mean"] == pytest.approx(np.mean(own))
            assert n["contribution"]["sd"] == (pytest.approx(np.std(own, ddof=1)) if len(own) > 1 else None)
    order = [abs(np.sum(values[n["concept"]])) for n in found["nodes"]]
    assert order == sorted(order, reverse=True)


def test_a_spread_needs_two_values_and_none_is_known_of_nothing():
    assert spread([None, None]) is None and spread([]) is None
    assert spread([1.0, None]) == {"mean": 1.0, "sd": None, "of": 1}


# --------------------------------------------------------------------------------------------------
# Other programs.

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "Zs")), min_size=1, max_size=8)
VALUE = st.one_of(st.none(), st.booleans(), st.floats(-5, 5), WORDS)
NESTED = st.one_of(
    VALUE,
    st.lists(st.integers(0, 9), max_size=4),
    st.dictionaries(st.sampled_from(["mean", "sd", "top left"]), st.one_of(st.floats(0, 1), st.none()), max_size=2),
)
KEYS = st.sampled_from(["name", "contribution", "box", "places", "measured", "place"])


@st.composite
def graphs(draw):
    ids = draw(st.lists(st.integers(1, 30).map(str), unique=True, max_size=5))
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    own = st.dictionaries(KEYS, NESTED, max_size=4)
    return {
        "class_name": draw(WORDS), **draw(own),
        "nodes": [{"concept": id, **draw(own)} for id in ids],
        "edges": [{"source": a, "target": b, **draw(own)} for a, b in pairs if draw(st.booleans())],
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_graph_comes_back_from_networkx_and_graphml_as_it_was(graph):
    assert from_networkx(to_networkx(graph)) == graph
    assert from_graphml(to_graphml(graph)) == graph


def test_networkx_has_the_values_as_plain_attributes(tmp_path):
    graph = {"class_index": 0, "nodes": [node("3", 0.25), node("7", 0.5)], "edges": [edge("7", "3", -0.5)]}
    found = to_networkx(graph)
    assert isinstance(found, nx.DiGraph) and set(found) == {"3", "7"} and found.graph["class_index"] == 0
    assert found.nodes["3"]["contribution"] == 0.25 and found.edges["7", "3"]["relation"] == "above"
    (tmp_path / "one.graphml").write_bytes(to_graphml(graph))
    assert nx.read_graphml(tmp_path / "one.graphml").nodes["7"]["measured"] == 0.6
    assert from_graphml(tmp_path / "one.graphml") == graph


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"no graph", "cannot be read as GraphML"), (b"\xff\xfe", "cannot be read as GraphML"),
     (b'<!DOCTYPE x [<!ENTITY a "b">]><graphml/>', "defines entities"),
     ("\n".join(nx.generate_graphml(nx.path_graph(2, nx.DiGraph))).encode(), "no graph of concepts")],
)  # fmt: skip
def test_what_is_no_graph_of_concepts_is_refused(data, words, tmp_path):
    with pytest.raises(InputError, match=words):
        from_graphml(data)
    (tmp_path / "file.graphml").write_bytes(data)
    with pytest.raises(InputError, match=words):
        from_graphml(tmp_path / "file.graphml")


def test_a_missing_and_a_too_large_file_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none\.graphml: cannot be read"):
        from_graphml(tmp_path / "none.graphml")
    (tmp_path / "large.graphml").write_bytes(b" " * 100)
    monkeypatch.setattr(interchange, "LARGEST", 99)
    with pytest.raises(InputError, match="larger than"):
        from_graphml(tmp_path / "large.graphml")


# --------------------------------------------------------------------------------------------------
# Pictures.


@pytest.fixture
def folder(tmp_path):
    """Six pictures with red in them, two without, and one that is none."""
    place = tmp_path / "some"
    place.mkdir()
    for n in range(6):
        Image.fromarray(patchy(["red", "blue"], 100 + n)).save(place / f"{n}.png")
    for n in range(6, 8):
        Image.fromarray(patchy(["green", "blue"], 100 + n)).save(place / f"{n}.png")
    (place / "broken.png").write_bytes(b"no picture")
    return place


def test_the_graph_of_a_class_is_the_mean_of_those_of_its_pictures(fitted, folder):  # noqa: F811
    explainer, _ = fitted
    with counting() as meter:
        found = class_graph(explainer, folder, "red", "other")
    assert meter.forward_passes <= 15 * 8
    assert (found["class_name"], found["versus"], found["other_classes"]) == ("red", "other", 2)
    assert [path.split("/")[-1] for path, _ in found["unreadable"]] == ["broken.png"]
    records = [explainer.explain(folder / f"{n}.png", "red", "other").parts["graph"] for n in range(6)]
    assert found["pictures"] == 6 and found["faithful"] == sum(r["faithful"] for r in records) > 3
    expected = mean_graph(records, 0)
    assert [n["concept"] for n in found["nodes"]] == [n["concept"] for n in expected["nodes"]]
    for one, other in zip(found["nodes"], expected["nodes"], strict=True):
        for key in ("contribution", "contrast", "measured"):
            assert one[key] == (other[key] and {k: pytest.approx(v, abs=1e-5) for k, v in other[key].items()})
    assert found["nodes"][0]["contribution"]["mean"] > 0.3
    plain = class_graph(explainer, folder, "red")
    assert plain["versus"] is None and all(row["contrast"] is None for row in plain["nodes"] + plain["edges"])
    assert set(found) == {*expected, "class_index", "class_name", "versus", "other_classes", "unreadable"}


def test_text_and_page_tell_the_mean_its_spread_and_of_how_many(fitted, folder):  # noqa: F811
    found = class_graph(fitted[0], folder, "red", "other")
    looks = {id: fitted[0].parts["concepts"].looks(id) for id in fitted[0].parts["concepts"].ids}
    said, shown = text(found), page(found, looks)
    first, n = found["nodes"][0], found["faithful"]
    assert f"the mean of {n} of 6 pictures" in said and "2 are given another class and 1 cannot be read" in said
    assert f"unnamed pattern {first['concept']}: +{100 * first['contribution']['mean']:.0f} ±" in said
    assert f"rather than other; in {first['present']} of {n}" in said
    assert said.index(" measured:") < said.index(f"pattern {first['concept']}:")
    there = [n["concept"] for n in found["nodes"] if n["present"]]
    assert shown.count('<circle class="under"') == len(there) and "rather than other" in shown
    assert shown.count("data:image/jpeg") == sum(len(looks[id]) for id in there) > len(there)
    assert "<img" not in page(found) and "crops" not in page(found)
    assert "http:" not in shown and "https:" not in shown and "<script" not in shown
    nothing = {**found, **mean_graph([], 0)}
    assert "nothing to tell" in text(nothing) and "<circle" not in page(nothing)


@pytest.mark.parametrize(
    ("relations", "said"),
    [({"above": 4}, "pattern 1 above"), ({"left of": 1, "above": 3}, "pattern 1 mostly above"),
     ({"left of": 2, "above": 2}, "pattern 1 and"), ({"left of": 1, "above": 2, "at": 1}, "pattern 1 and")],
)  # fmt: skip
def test_a_relation_is_told_of_a_class_where_it_is_so_in_most_pictures(relations, said):
    graph = {"nodes": [{"concept": "1", "name": None}, {"concept": "2", "name": "eye"}]}
    edge = {"source": "1", "target": "2", "present": 4, "relations": relations}
    assert line(edge, graph) == f"unnamed {said} eye 2"


def test_who_says_what_a_concept_contributes_is_told_by_what_was_measured():
    some = [node("1", 0.4), node("1", 0.4, measured=None)]
    for rows, said in ((some[:1], "measured"), (some, "by the student"), (some[1:], "by the student")):
        found = mean_graph([record([n], []) for n in rows], 0) | {
            "class_name": "red", "versus": None, "other_classes": 0, "unreadable": []}  # fmt: skip
        assert by(found["nodes"][0]) == said and f"\n {said}:\n  unnamed pattern 1: +40" in text(found)
        assert f"<td>{said.removeprefix('by ')}</td>" in page(found)


def test_what_has_no_graph_is_refused(clf, bank, fitted, folder, tmp_path):  # noqa: F811
    with pytest.raises(UsageError, match="--parts concepts,graph"):
        class_graph(Explainer(clf, {"concepts": bank}), folder, "red")
    with pytest.raises(UsageError, match="unknown class"):
        class_graph(fitted[0], folder, "violet")
    with pytest.raises(UsageError, match="target and versus"):
        class_graph(fitted[0], folder, "red", "red")
    one = replace(fitted[0].parts["graph"], classes=(0,))
    with pytest.raises(UsageError, match="does not know 'other', but red"):
        class_graph(Explainer(clf, {**fitted[0].parts, "graph": one}), folder, "red", "other")
    with pytest.raises(InputError, match="none of 1 pictures"):
        class_graph(fitted[0], [folder / "broken.png"], "red")


def test_the_command_writes_json_graphml_and_a_page(photos, folder, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "patches.py").write_text(
        "from test_concepts import Patches\n\ndef make():\n    return Patches().eval()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(distilling, "LEARNING", FEW)
    model = ["--model", "patches:make", "--size", "32", "--resize", "0", "--mean", "0", "--std", "1", "--layer", "pool",
             "--activation", "softmax"]  # fmt: skip
    made = CliRunner().invoke(
        app, ["fit", str(photos), "--parts", "graph,concepts", "-o", str(tmp_path / "mine"), *model]
    )
    assert made.exit_code == 0, made.output
    given = []
    monkeypatch.setattr(classwide_page, "page", lambda graph, looks: given.append(looks) or page(graph, looks))
    args = ["graph", str(folder), "--explainer", str(tmp_path / "mine"), "--target", "0", "-o", str(tmp_path / "out")]
    run = CliRunner().invoke(app, [*args, *model])
    assert run.exit_code == 1 and "broken.png" in run.output, "one picture cannot be read"
    assert "Graph of class 0" in run.output
    found = json.loads((tmp_path / "out" / "graph.json").read_text())
    assert from_graphml(tmp_path / "out" / "graph.graphml") == found
    assert "How class 0 is decided" in (tmp_path / "out" / "graph.html").read_text()
    assert given[0].keys() == {str(n + 1) for n in range(len(given[0]))} and any(given[0].values())
