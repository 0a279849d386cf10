"""Audits: what goes wrong on a data set, and why.

report = audit(clf, find_images(["photos"]), "run")  # writes run/failures.html, run/failures.json
report = study(clf, find_images(["photos"]))  # the same, in memory alone
run = scan(clf, ["photos"], "run")  # stores the answer to every picture, whatever their number
open_store(run).sql("SELECT path FROM pictures WHERE NOT correct ORDER BY margin DESC").fetchall()
"""

from saywhy.audit.depths import DEPTHS
from saywhy.audit.exports import EXPORTS, export
from saywhy.audit.families import FAMILIES, Family
from saywhy.audit.folder import audit, write_summary
from saywhy.audit.neighbours import nearest, vector_of
from saywhy.audit.pipeline import default_method, study
from saywhy.audit.report import Report, json_schema
from saywhy.audit.scan import Budget, scan
from saywhy.audit.store import open_store
from saywhy.audit.summary import Summary, summary
from saywhy.audit.tables import TABLES

__all__ = [
    "DEPTHS",
    "EXPORTS",
    "FAMILIES",
    "TABLES",
    "Budget",
    "Family",
    "Report",
    "Summary",
    "audit",
    "default_method",
    "export",
    "json_schema",
    "nearest",
    "open_store",
    "scan",
    "study",
    "summary",
    "vector_of",
    "write_summary",
]
