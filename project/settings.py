"""Settings of the project that ships: a small shop, and the metrics around it.

Every value that a deployment decides comes from the environment; the defaults are safe.
"""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

from metrics_commands.directory import use_metrics_directory

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("DATA_DIR", BASE_DIR / "var"))

use_metrics_directory(DATA_DIR / "metrics")

# Nothing here outlives a process that is signed with it, so a fresh one is safe.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("DJANGO_DEBUG", "") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = ["metrics_commands", "project.shop"]
MIDDLEWARE = [
    "metrics_commands.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "metrics_commands.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True

PROMETHEUS_METRICS_EXPORT_PORT_RANGE = range(8001, 8051)
# A Procfile runner, which sets PORT, stops every process when one exits; there the exporter
# keeps trying.
if "PORT" in os.environ:
    PROMETHEUS_METRICS_PORT_WAIT = "forever"
