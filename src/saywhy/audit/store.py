"""The store of a scan, read only: its tables as views of DuckDB, search by vectors, and exports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saywhy.audit.inventory import LISTING, STORE, read_run
from saywhy.audit.tables import TABLES, duck

DONE = "done"
FINDINGS = f"{STORE}/findings.parquet"


def open_store(run: str | Path) -> Any:
    """The tables of a scan as views (pictures, maps, ...; docs/store.md) of a DuckDB connection, and `classes`.

    The connection reads the Parquet files of the run's folder and nothing else on this machine; close it, or use it in
    a `with` block. `open_store("run").sql("SELECT * FROM pictures WHERE NOT correct ORDER BY margin DESC").df()`.

    Raises:
        InputError: no scan there.
        ExtraMissing: duckdb is not installed.
    """
    folder = Path(run)
    record = read_run(folder)
    connection = duck().connect(":memory:")
    files = tables_of(folder)
    for name, table in TABLES.items():
        connection.execute(_view(name, table.columns, files[name]))
    connection.execute("CREATE TABLE classes (index INTEGER, name VARCHAR)")
    connection.execute(
        "INSERT INTO classes SELECT unnest(?), unnest(?)", [list(range(len(record.classes))), list(record.classes)]
    )
    paths = ", ".join(_text(path) for listed in files.values() for path in listed)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def tables_of(folder: Path) -> dict[str, list[str]]:
    """The Parquet files of each table that manifests name, in the order of their shards."""
    store = (folder / STORE).resolve()
    found: dict[str, list[str]] = {name: [] for name in TABLES}
    found["listing"] = [str(store / LISTING)]
    for manifest in manifests(folder):
        for name, row in manifest["tables"].items():
            found[name].append(str(store / row["file"]))
    if (folder / FINDINGS).is_file():
        found["findings"] = [str((folder / FINDINGS).resolve())]
    return found


def manifests(folder: Path) -> Iterator[dict[str, Any]]:
    """What each shard that is done says of itself, by depth and then in the order of the shards."""
    for file in sorted((folder / STORE / DONE).glob("*.json")):
        yield json.loads(file.read_text(encoding="utf-8"))


def _view(name: str, columns: Any, files: list[str]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    if files:
        listed = ", ".join(map(_text, files))
        return f"CREATE VIEW {name} AS SELECT {names} FROM read_parquet([{listed}])"
    empty = ", ".join(f'CAST(NULL AS {_sql(row.type)}) AS "{column}"' for column, row in columns.items())
    return f"CREATE VIEW {name} AS SELECT {empty} WHERE false"


SQL = {
    "int64": "BIGINT", "int32": "INTEGER", "float32": "FLOAT", "float64": "DOUBLE", "halffloat": "FLOAT",
    "string": "VARCHAR", "bool": "BOOLEAN", "binary": "BLOB",
}  # fmt: skip


def _sql(type: str) -> str:
    return f"{SQL[type[5:-1]]}[]" if type.startswith("list<") else SQL[type]


def _text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
