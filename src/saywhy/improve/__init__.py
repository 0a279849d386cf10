"""From a finding to a better classifier: a remedy on a copy, and what it did, on pictures that taught it nothing.

made = improve(clf, "run", finding, how="reweight", out="better")  # writes better/weights.safetensors, improved.json
load_classifier("aviary:cnn", weights="better/weights.safetensors")
"""

from saywhy.improve.improved import Blamed, Improved
from saywhy.improve.mending import improve
from saywhy.improve.remedies import REMEDIES

__all__ = ["REMEDIES", "Blamed", "Improved", "improve"]
