"""`python -m saywhy`: the command line."""

from saywhy.cli import main

main()
