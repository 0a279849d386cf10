"""The public names, one line each; `__init__.py` reads this file, and so do type checkers."""

from saywhy import audit as audit
from saywhy import aviary as aviary
from saywhy import evaluate as evaluate
from saywhy import improve as improve
from saywhy import search as search
from saywhy.classifier import Classifier as Classifier
from saywhy.collection import find_images as find_images
from saywhy.errors import ExtraMissing as ExtraMissing
from saywhy.errors import InputError as InputError
from saywhy.errors import ModelError as ModelError
from saywhy.errors import SaywhyError as SaywhyError
from saywhy.errors import UsageError as UsageError
from saywhy.explainer import Explainer as Explainer
from saywhy.explainer import explain as explain
from saywhy.explainer import explain_each as explain_each
from saywhy.explanation import Explanation as Explanation
from saywhy.image import Preprocess as Preprocess
from saywhy.image import read as read
from saywhy.metrics import METRICS as METRICS
from saywhy.render import RENDERERS as RENDERERS
from saywhy.saliency import METHODS as METHODS
from saywhy.saliency import saliency as saliency
from saywhy.targets import RegionScores as RegionScores
from saywhy.targets import region_target as region_target
from saywhy.zoo import bind as bind
from saywhy.zoo import load_classifier as load_classifier

__version__: str
__all__: list[str]
