"""Search in the store of a scan: by what pictures show in words, by a picture, or by a picture and a change of words.

search("run", "red crown and long beak and not blue wing").hits
search("run", like=17).hits  # pictures like this mistake
search("run", "not red crown and black crown", like=17).hits
"""

from saywhy.search.answering import ANSWERS
from saywhy.search.composing import FUSIONS
from saywhy.search.grounded import Grounding
from saywhy.search.hits import SearchHit, SearchRecord, SearchTerm
from saywhy.search.seeking import search

__all__ = ["ANSWERS", "FUSIONS", "Grounding", "SearchHit", "SearchRecord", "SearchTerm", "search"]
