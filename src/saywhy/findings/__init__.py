"""Findings: what goes wrong on a whole set and why, read from the store of a scan, and a report of it.

found = find("RUN")  # every finding, the one that explains most errors first
write_findings("RUN")  # as the table `findings` of the store, and as findings.json
write_report("RUN", "report.html")
"""

from saywhy.findings.kinds_of import KINDS
from saywhy.findings.overview import write_report
from saywhy.findings.ranking import FindingRecord, find, write_findings

__all__ = ["KINDS", "FindingRecord", "find", "write_findings", "write_report"]
