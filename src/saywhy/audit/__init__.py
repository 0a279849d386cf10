"""Audits: what goes wrong on a data set, and why.

report = audit(clf, find_images(["photos"]), "run")  # writes run/failures.html, run/failures.json
report = study(clf, find_images(["photos"]))  # the same, in memory alone
"""

from saywhy.audit.families import FAMILIES, Family
from saywhy.audit.folder import audit
from saywhy.audit.pipeline import default_method, study
from saywhy.audit.report import Report, json_schema

__all__ = ["FAMILIES", "Family", "Report", "audit", "default_method", "json_schema", "study"]
