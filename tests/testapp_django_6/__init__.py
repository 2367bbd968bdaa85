"""Models of the tests that need Django 6; only `tests.scenarios.test_django_6` installs this app."""
