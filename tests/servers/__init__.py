"""Private servers for the tests: found, started on free ports of this machine, and stopped.

`python -m tests.servers -- COMMAND` runs a command while they are running. This package imports only the standard
library, because `debian` runs before there is a virtual environment.
"""
