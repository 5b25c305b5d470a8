"""Settings of the project: no database, and a broker that the environment names."""

import os
from pathlib import Path

from metrics_commands.directory import use_metrics_directory

use_metrics_directory(Path(os.environ["DATA_DIR"]) / "metrics")

SECRET_KEY = "tests"
INSTALLED_APPS = ["metrics_commands"]
ROOT_URLCONF = "metrics_commands.urls"
USE_TZ = True
TIME_ZONE = "Asia/Kathmandu"

CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "pre:"}
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_DEFAULT_QUEUE = "main"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
