"""What is written is there whole or not at all, whatever goes wrong, and all of the package writes that way."""

import errno
import os
import re
from pathlib import Path

import pytest

import saywhy
from saywhy import files
from saywhy.errors import InputError


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_text_and_bytes_are_written_and_folders_are_made(tmp_path):
    assert files.write(tmp_path / "a" / "b" / "x", b"one").read_bytes() == b"one"
    assert files.write(tmp_path / "a" / "b" / "x", "zwei ä").read_text(encoding="utf-8") == "zwei ä"
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["x"]


@pytest.mark.parametrize("step", ["fill", "fsync", "replace"])
def test_what_fails_leaves_the_file_of_before_and_no_draft(tmp_path, monkeypatch, step):
    target = files.write(tmp_path / "x", b"one")

    def half(draft, data):
        draft.write_bytes(data[:1])
        full()

    where, name, new = {
        "fill": (files, "_fill", half),
        "fsync": (os, "fsync", full),
        "replace": (Path, "replace", full),
    }[step]
    monkeypatch.setattr(where, name, new)
    with pytest.raises(InputError, match=r"x: cannot be written \(No space left on device\)"):
        files.write(target, b"two")
    assert target.read_bytes() == b"one" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_an_interrupt_leaves_nothing_behind_either(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.write(tmp_path / "x", b"two")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_an_input_error(tmp_path):
    (tmp_path / "x").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        files.write(tmp_path / "x" / "y", b"one")


def test_the_disk_is_waited_for_unless_the_caller_says_no(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    files.write(tmp_path / "x", b"one", sync=False)
    assert calls == []
    files.write(tmp_path / "x", b"one")
    assert len(calls) == 2, "the file and its folder"


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        assert files.write(tmp_path / "x", b"one").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_drafts_of_killed_processes_are_swept_and_nothing_else(tmp_path):
    for name in (".x.1234.draft", "x", ".hidden", "y.draft"):
        (tmp_path / name).write_text("?")
    files.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", "x", "y.draft"]


def test_nothing_else_in_the_package_writes_files():
    writes = re.compile(
        r"\.write_text\(|\.write_bytes\(|save_file\(|mkstemp|NamedTemporaryFile|open\(\"[wx]|draft\.replace"
    )
    folder = Path(saywhy.__file__).parent
    found = {str(p.relative_to(folder)) for p in folder.rglob("*.py") if writes.search(p.read_text(encoding="utf-8"))}
    assert found == {"files.py"}
