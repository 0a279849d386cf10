"""Search in a run: by words, by a picture, by both, against plain counts; and where phrases are."""

import json
import shutil
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from saywhy import cli, files
from saywhy.audit import nearest, open_store, scan
from saywhy.audit.inventory import LISTING, STORE, read_run
from saywhy.audit.store import DONE
from saywhy.audit.tables import arrow, encoded, parquet, schema
from saywhy.errors import InputError, UsageError
from saywhy.search import FUSIONS, Grounding, search
from saywhy.search.columns import columns_of
from saywhy.spaces.wordbook import load_words
from saywhy.zoo import imagenet_classes, load_classifier
from small_set import small
from test_attributes_of_pictures import classifier, colours_of, fitted, folder  # noqa: F401  fixtures
from test_store import run as plain_run  # noqa: F401

RED, BLUE = "red dot", "blue dot"


@pytest.fixture(scope="module")
def run(folder, fitted, tmp_path_factory):  # noqa: F811
    """Eighty pictures of dots, with attributes."""
    place = tmp_path_factory.mktemp("dots")
    fitted.save(place / "explainer")
    return scan(classifier(), [str(folder / "*.png")], place / "run", explainer=place / "explainer", shard=16)


def present(run):
    with open_store(run) as store:
        rows = store.execute("SELECT n, present FROM attributes ORDER BY n").fetchall()
    names = json.loads((run / STORE / "settings.json").read_text())["attributes"]["names"]
    return names, np.array([values for _, values in rows], dtype=np.float64)


def test_a_scan_stores_what_the_explainer_says_of_each_picture_in_one_pass(run, fitted):  # noqa: F811
    names, stored = present(run)
    meaning, clf = fitted.parts["attributes"], classifier()
    assert names == [str(a) for a in meaning.attributes] and len(stored) == 80
    with open_store(run) as store:
        paths = [p for (p,) in store.execute("SELECT path FROM pictures ORDER BY n").fetchall()]
    for n in (0, 7, 63):
        maps = clf.tap(clf.prepare([clf.read(paths[n])])[0]).maps()[0]
        pooled = maps.mean(dim=(1, 2)).double().numpy()[None]
        answer = clf.probabilities(clf.prepare([clf.read(paths[n])])[0]).argmax(1).numpy()
        assert stored[n] == pytest.approx(meaning.probe(meaning.activity.lifted(pooled), answer)[0], abs=1e-3)
    passes = [json.loads(f.read_text())["passes"] for f in (run / STORE / DONE).glob("*.json")]
    assert sum(passes) == 80


@pytest.mark.parametrize("query", [RED, f"{RED} and {BLUE}", f"{BLUE} and not {RED}", f"not {RED}, not {BLUE}"])
def test_words_find_what_a_plain_product_finds(query, run):
    names, stored = present(run)
    likely = np.ones(80)
    for part in query.replace(",", " and").split(" and "):
        value = stored[:, names.index(part.strip().removeprefix("not "))]
        likely *= 1 - value if part.strip().startswith("not ") else value
    found = search(run, query, count=80)
    assert [h.n for h in found.hits] == sorted(range(80), key=lambda n: (-likely[n], n))
    assert [h.score for h in found.hits] == pytest.approx(sorted(likely, reverse=True))
    wanted = [c for c in (RED, BLUE) if c in query]
    for hit in found.hits[:5]:
        colours = colours_of(int(hit.path.rpartition("/")[2][:2]))
        for word in wanted:
            assert (word.split()[0] in colours) == (f"not {word}" not in query), (query, hit.path)


def test_pictures_like_one_are_the_nearest_ones(run):
    found = search(run, like=5, count=9)
    assert found.answered_by == "embeddings"
    assert [(h.n, round(h.score, 3)) for h in found.hits] == [(o.n, round(o.cosine, 3)) for o in nearest(run, 5, 9)]
    assert search(run, like="05.png", count=9).hits == found.hits


@pytest.mark.parametrize("fusion", ["edited", "product"])  # of a sum, one term may make up for another
def test_a_picture_and_a_change_of_words_find_the_changed_picture(fusion, run):
    start = next(n for n in range(80) if colours_of(n) == ["red"])
    found = search(run, f"not {RED} and {BLUE}", like=start, fusion=fusion, count=3)
    assert found.fusion == fusion and start not in [h.n for h in found.hits]
    for hit in found.hits:
        assert "blue" in colours_of(hit.n) and "red" not in colours_of(hit.n), hit


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_fusion_is_the_plain_formula_of_words_likeness_and_change(fusion, run):
    names, stored = present(run)
    with open_store(run) as store:
        vectors = np.array([v for (v,) in store.execute("SELECT vector FROM embeddings ORDER BY n").fetchall()])
    red, blue = names.index(RED), names.index(BLUE)
    words = (1 - stored[:, red]) * stored[:, blue]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit[7]
    target = stored[7].copy()
    target[[red, blue]] = 0, 1
    wide = (stored - stored.mean(0)) / stored.std(0)
    asked = (target - stored.mean(0)) / stored.std(0)
    changed = wide @ asked / (np.linalg.norm(wide, axis=1) * np.linalg.norm(asked))

    def even(x):
        return (x - x.mean()) / x.std()

    plain = {
        "all": even(words) + even(likeness) + even(changed), "edited": changed, "sum": even(words) + even(likeness),
        "product": words * likeness,
    }[fusion]  # fmt: skip
    found = search(run, f"not {RED} and {BLUE}", like=7, fusion=fusion, count=79)
    scores = {h.n: h.score for h in found.hits}
    assert [scores[n] for n in range(80) if n != 7] == pytest.approx(np.delete(plain, 7).tolist(), abs=2e-3)


def test_where_a_phrase_is_its_box_lies_on_the_dot(run, fitted):  # noqa: F811
    found = search(run, f"{RED} and not {BLUE}", count=6, grounding=Grounding(classifier(), fitted))
    for hit in found.hits:
        red, blue = hit.terms
        assert blue.box is None and red.place
        x0, y0, x1, y1 = red.box
        pixels = np.asarray(classifier().read(hit.path).pixels, dtype=int)
        dot = (pixels[..., 0] > 150) & (pixels[..., 2] < 100)
        both = dot[y0:y1, x0:x1].sum()
        assert both / (dot.sum() + (x1 - x0) * (y1 - y0) - both) > 0.7


def test_another_word_for_a_noun_is_taken_for_it(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    settings = tmp_path / "run" / STORE / "settings.json"
    told = json.loads(settings.read_text())
    assert told["attributes"]["same"] == {}  # captions of dots call them nothing else
    told["attributes"]["same"] = {"spot": "dot"}
    settings.write_text(json.dumps(told))
    found = search(tmp_path / "run", "red spot and not blue dot")
    assert found.hits == search(run, f"{RED} and not {BLUE}").hits


# --------------------------------------------------------------------------------------------------
# A classifier of ImageNet's classes needs nothing fitted.


@pytest.fixture(scope="module")
def imagenet(plain_run, tmp_path_factory):  # noqa: F811
    """A run whose classes are ImageNet's and whose answers are drawn."""
    place = tmp_path_factory.mktemp("lexical") / "run"
    names = imagenet_classes()
    record = read_run(plain_run).model_copy(update={"classes": tuple(names), "pictures": 300})
    files.write(place / STORE / "run.json", record.model_dump_json())
    files.write(place / STORE / LISTING, (plain_run / STORE / LISTING).read_bytes())
    dice = np.random.default_rng(3)
    rows = []
    for n in range(300):
        p = np.sort(dice.dirichlet(np.ones(8))[:5])[::-1]
        top = dice.choice(1000, 5, replace=False).tolist()
        rows.append({"n": n, "path": f"{n}.jpg", "answer_name": names[top[0]], "top": top, "p_top": p.tolist()})
    data = encoded("pictures", rows)
    files.write(place / STORE / "pictures" / "x.parquet", data)
    table = {"file": "pictures/x.parquet", "rows": 300, "bytes": len(data), "sha256": ""}
    manifest = {"depth": "prediction", "pictures": 300, "tables": {"pictures": table}, "passes": 0, "seconds": 0}
    files.write(place / STORE / DONE / "prediction-000000.json", json.dumps(manifest))
    return place, rows


@pytest.mark.parametrize("query", ["dog", "dog and not hound", "beagle", "keyboard and not dog"])
def test_words_of_imagenet_are_answered_by_the_probabilities_of_their_classes(query, imagenet):
    run, rows = imagenet
    words, ids = load_words(), imagenet_classes().ids
    scores = []
    for row in rows:
        score = 1.0
        for part in query.split(" and "):
            own = {words.classes[i] for i in words.true_of[words.numbers[part.removeprefix("not ")]]}
            p = sum(v for c, v in zip(row["top"], row["p_top"], strict=True) if ids[c] in own)
            score *= 1 - p if part.startswith("not ") else p
        scores.append(score)
    found = search(run, query, count=20)
    assert found.answered_by == "lexical"
    assert [h.score for h in found.hits] == pytest.approx(sorted(scores, reverse=True)[:20], abs=1e-6)


def test_a_picture_less_a_word_and_plus_another_is_nearer_to_the_other(imagenet):
    run, rows = imagenet
    moved = search(run, "not dog and keyboard", like=3, count=299, fusion="edited")
    assert moved.fusion == "edited"
    plain = {h.n: rank for rank, h in enumerate(moved.hits)}
    dogs = load_words().true_of[load_words().numbers["dog"]]
    assert len(moved.hits) == 299
    share = [sum(p for c, p in zip(r["top"], r["p_top"], strict=True) if c in dogs) for r in rows]
    doggy = [plain[n] for n in range(300) if n != 3 and share[n] > 0.5]
    rest = [plain[n] for n in range(300) if n != 3 and share[n] == 0]
    assert np.mean(doggy) > np.mean(rest)


# --------------------------------------------------------------------------------------------------
# A million.


def test_a_million_pictures_are_searched_exactly_within_a_second(run, tmp_path):
    size, shards, place = 20_000, 50, tmp_path / "million"
    record = read_run(run).model_copy(update={"pictures": size * shards})
    files.write(place / STORE / "run.json", record.model_dump_json())
    files.write(place / STORE / LISTING, (run / STORE / LISTING).read_bytes())
    names = ["red crown", "long beak", "blue wing"]
    files.write(place / STORE / "settings.json", json.dumps({"attributes": {"names": names}}))
    dice = np.random.default_rng(1)
    block = dice.random((size, 3)).astype(np.float16)
    one = {"path": "x", "answer_name": "a"}
    flat = arrow().Table.from_pylist([{"n": 0, **one}] * size, schema=schema("pictures"))
    lists = arrow().Table.from_pylist([{"n": 0, "present": row} for row in block], schema=schema("attributes"))
    for shard in range(shards):
        numbers, told = arrow().array(range(shard * size, (shard + 1) * size), arrow().int64()), {}
        for name, table in (("pictures", flat), ("attributes", lists)):
            file = place / STORE / name / f"{shard:03d}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            parquet().write_table(table.set_column(0, "n", numbers), file, compression="zstd")
            told[name] = {"file": f"{name}/{file.name}", "rows": size, "bytes": file.stat().st_size, "sha256": ""}
        manifest = {"depth": "attributes", "pictures": size, "tables": told, "passes": 0, "seconds": 0}
        files.write(place / STORE / DONE / f"attributes-{shard:03d}.json", json.dumps(manifest), sync=False)
    search(place, "red crown")  # makes the file of columns
    start = time.process_time()
    found = search(place, "red crown and not blue wing", count=100)
    assert time.process_time() - start < 1
    scores = block[:, 0].astype(np.float64) * (1 - block[:, 2].astype(np.float64))
    order = np.argsort(-scores, kind="stable")
    best, expected = order[:3], []
    for row in best:  # equal ones of all shards, the smaller number first
        expected += [int(row + shard * size) for shard in range(shards)]
    assert [h.n for h in found.hits] == expected[:100] and found.pictures == size * shards


def test_columns_of_many_files_are_those_of_few(run, monkeypatch):
    few = columns_of(run, "attributes", "present")
    monkeypatch.setattr("saywhy.search.columns.MEMORY", 10)
    many = columns_of(run, "attributes", "present")
    assert isinstance(many.values, np.memmap) and np.array_equal(few.values, many.values)
    assert np.array_equal(few.numbers, many.numbers)


# --------------------------------------------------------------------------------------------------
# What is refused, and the command line.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"query": "red crown"}, "unknown attribute 'red crown'"),
        ({"query": "red dot and"}, "empty term"),
        ({"like": "nothing.png"}, "no picture of the run"),
        ({"like": 99}, "no picture of the run"),
        ({}, "needs a query"),
        ({"query": RED, "like": 1, "fusion": "mean"}, "unknown fusion"),
        ({"query": RED, "count": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_found_is_refused(asked, said, run):
    with pytest.raises(UsageError, match=said):
        search(run, **asked)


def test_a_run_without_words_says_the_way_out(plain_run, tmp_path):  # noqa: F811
    with pytest.raises(UsageError, match="--parts attributes"):
        search(plain_run, "red crown")
    with pytest.raises(InputError, match="no scan there"):
        search(tmp_path, "red crown")
    with pytest.raises(UsageError, match="depth attributes needs an explainer"):
        scan(small(), [plain_run.parent / "a"], tmp_path / "x", depth="attributes")


def test_the_command_prints_text_and_json_and_writes_a_page(run, tmp_path):
    asked = ["search", str(run), RED, "--model", "test_search:painted_net", "--count", "4"]
    told = CliRunner().invoke(
        cli.app, [*asked, "--explainer", str(run.parent / "explainer"), "-o", str(tmp_path / "x.html")]
    )
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0] == "red dot: 80 pictures compared, by attributes" and len(lines) == 5
    page = (tmp_path / "x.html").read_text()
    assert page.count("data:image/jpeg") == 4 and "<script" not in page and "red dot" in page
    bare = CliRunner().invoke(cli.app, ["search", str(run), RED, "--no-boxes", "--json", "--count", "4"])
    record = json.loads(bare.stdout)
    assert [h["n"] for h in record["hits"]] == [h.n for h in search(run, RED, count=4).hits]
    assert record["hits"][0]["terms"][0]["box"] is None
    wrong = CliRunner().invoke(cli.app, [*asked[:3], "-o", str(tmp_path / "x.txt")])
    assert isinstance(wrong.exception, UsageError)


def test_the_page_is_there_whoever_stops_reading_what_is_printed(run, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.print", closed)
    words = ["search", str(run), RED, "--no-boxes", "-o", str(tmp_path / "x.html")]
    assert isinstance(CliRunner().invoke(cli.app, words).exception, BrokenPipeError)
    assert "red dot" in (tmp_path / "x.html").read_text()


def closed(*_, **__):
    raise BrokenPipeError


def painted_net():
    """What `--model test_search:painted_net` loads."""
    return classifier()


def test_another_model_is_refused(run):
    told = CliRunner().invoke(
        cli.app, ["search", str(run), RED, "--model", "aviary:cnn", "--explainer", str(run.parent / "explainer")]
    )
    assert isinstance(told.exception, UsageError) and "is of the classifier painted" in str(told.exception)
    assert load_classifier("aviary:cnn").name == "aviary:cnn"
