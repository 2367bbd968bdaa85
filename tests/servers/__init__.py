"""Private servers for the tests: found, started on free ports of this machine, and stopped.

Nothing here imports Django or anything else that has to be installed, for `debian` runs before there is a virtual
environment. `python -m tests.servers -- COMMAND` runs a command beside the servers.
"""
