"""Settings of this checkout's projects: the demo, the tests, and one that the environment configures."""
