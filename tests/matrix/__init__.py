"""The versions that the tests run on: cells as data, a runner that brings their programs, and their last results.

`python -m tests.matrix` lists the cells, and `python -m tests.matrix CELL` runs one. Like `tests.servers`, this package
imports only the standard library.
"""
