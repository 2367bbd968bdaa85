"""The Celery app of the tests, on the Redis of the test session, and its worker: `python celery_app.py QUEUE …`."""

import os
import sys

from celery import Celery

# Above the numbers of the caches.
BROKER = f"{os.environ['MIGRATOR_TEST_REDIS'].rstrip('/')}/7"

app = Celery("tests", broker=BROKER)
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    broker_transport_options={"visibility_timeout": int(os.environ.get("VISIBILITY_SECONDS", "3600"))},
)
app.autodiscover_tasks()

if __name__ == "__main__":
    queue, name, *options = sys.argv[1:]
    app.worker_main(["worker", "--queues", queue, "--hostname", f"{name}@{queue}", "--loglevel", "WARNING", *options])
