"""The journal of a run, in two small tables of the destination: a chunk's rows and its record commit together."""
