"""Settings of this checkout's own projects: the demo, the tests, and one that the environment fills in."""
