"""Workers on other hosts, which copy chunks in addition to the processes of the command."""
