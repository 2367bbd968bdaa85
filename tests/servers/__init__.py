"""Private servers for the tests: found, started on free ports of this machine, and stopped.

`python -m tests.servers -- COMMAND` runs a command beside them. Nothing here needs anything installed, for
`debian` runs before there is a virtual environment.
"""
