"""A Wagtail site: the packages that `wagtail start` installs, Wagtail's other contributions and its demo site's models.

The environment names the databases. `default` is the destination of a move and `old` its source, for Wagtail takes
the models and migrations of its search index from the engine of `default`.
"""

import gc
from pathlib import Path

# First, for it chooses the PostgreSQL driver.
from settings.test import RUN_DIRECTORY  # isort: skip
from settings.base import DATABASES

# Most of this project's time goes into the many models of its migrations, and a tenth of that into looking for garbage.
gc.set_threshold(200_000)

INSTALLED_APPS = [
    "wagtail.test.demosite",
    "wagtail.test.snippets",
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.simple_translation",
    "wagtail.locales",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django_filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "migrator",
]
if DATABASES and DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # What Wagtail asks for where its search runs on PostgreSQL.
    INSTALLED_APPS.append("django.contrib.postgres")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "wagtail.contrib.redirects.middleware.RedirectMiddleware",
]
ROOT_URLCONF = "tests.scenarios.realapps.wagtail_project.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver", "localhost"]
# Making a user's password hash costs a tenth of a second with the default.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
TIME_ZONE = "Europe/Lisbon"
USE_I18N = True
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
STATIC_ROOT = RUN_DIRECTORY / "wagtail-static"
MEDIA_URL = "/media/"
MEDIA_ROOT = RUN_DIRECTORY / "wagtail-media"

WAGTAIL_SITE_NAME = "Demo"
WAGTAILADMIN_BASE_URL = "http://localhost"
WAGTAIL_I18N_ENABLED = True
LANGUAGES = WAGTAIL_CONTENT_LANGUAGES = [("en", "English"), ("pt", "Português")]
# The index is only written by the command that builds it.
WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database", "AUTO_UPDATE": False}}
WAGTAILREDIRECTS_AUTO_CREATE = True
