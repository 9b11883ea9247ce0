"""Settings: what differs from host to host comes from the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
DEBUG = os.environ.get("DEBUG") == "1"
SECRET_KEY = os.environ.get("SECRET_KEY", "for local work")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", *os.environ.get("HOSTS", "").split()]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ROOT_URLCONF = "photos.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "photos"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# Two releases and their workers write at the same time, for a moment: each waits for the other.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {
            "timeout": 10,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Names with a hash, which whitenoise lets browsers keep for ever; those of other releases come by [assets].
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# Beside the code: under gapless a link into $GAPLESS_SHARED.
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"
