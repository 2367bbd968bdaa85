"""A shop of django-oscar, whose customers sign up, log in and are known to social networks through django-allauth.

The environment names the databases: `default` is the destination of a move, and `old` its source.
"""

import os

# First, because it chooses the PostgreSQL driver.
from settings.test import RUN_DIRECTORY  # isort: skip
from oscar import INSTALLED_APPS as OSCAR_APPS
from oscar.defaults import *  # noqa: F403

from settings.base import DATABASES as DATABASES
from settings.base import cache_from_url

INSTALLED_APPS = [
    *OSCAR_APPS,
    "sorl.thumbnail",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.dummy",
    "allauth.socialaccount.providers.github",
    "allauth.usersessions",
    "django.contrib.humanize",
    "migrator",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]
ROOT_URLCONF = "tests.scenarios.realapps.oscar_project.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ]
        },
    }
]

AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# Confirmations are rows, not only signatures.
ACCOUNT_EMAIL_CONFIRMATION_HMAC = False
ACCOUNT_RATE_LIMITS = False
# A code may end while it is on its way.
MFA_TOTP_TOLERANCE = 1
SOCIALACCOUNT_STORE_TOKENS = True
USERSESSIONS_TRACK_ACTIVITY = True
LOGIN_REDIRECT_URL = "/"

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver"]
# Making a user's password hash costs a tenth of a second with the default.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if address := os.environ.get("MIGRATOR_TEST_REDIS"):
    # Where the shop keeps its sessions at last.
    CACHES["sessions"] = cache_from_url(f"{address.rstrip('/')}/9")
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SITE_ID = 1
USE_TZ = True
TIME_ZONE = "America/St_Johns"
USE_I18N = True
LANGUAGE_CODE = "en-gb"
STATIC_URL = "/static/"
STATIC_ROOT = RUN_DIRECTORY / "oscar-static"
MEDIA_URL = "/media/"
MEDIA_ROOT = RUN_DIRECTORY / "oscar-media"

OSCAR_ALLOW_ANON_CHECKOUT = True
OSCAR_INITIAL_ORDER_STATUS = OSCAR_INITIAL_LINE_STATUS = "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {"Pending": ("Sent", "Cancelled"), "Sent": (), "Cancelled": ()}
OSCAR_LINE_STATUS_PIPELINE = OSCAR_ORDER_STATUS_PIPELINE
