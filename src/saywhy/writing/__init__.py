"""Explanations in words of a second model, which may say what the record holds and nothing else.

`retold` puts an explanation in other words and proves it; a writer is a row of WRITERS, a style one of STYLES.
"""

from saywhy.writing.account import STYLES, Account, account_of
from saywhy.writing.writers import RECORD, WRITERS, check_writer, retold, steps

__all__ = ["RECORD", "STYLES", "WRITERS", "Account", "account_of", "check_writer", "retold", "steps"]
