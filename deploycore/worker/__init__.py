"""Workers, which deploy the applications that have triggers."""

from deploycore.worker.catch_up import request_checks
from deploycore.worker.events import WorkerEvent, WorkerListener, no_listener
from deploycore.worker.notifications import announcing
from deploycore.worker.retries import seconds_to_retry
from deploycore.worker.worker import Worker

__all__ = [
    "Worker",
    "WorkerEvent",
    "WorkerListener",
    "announcing",
    "no_listener",
    "request_checks",
    "seconds_to_retry",
]
