"""Metrics for Prometheus. No label has a value that a client can choose."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploycore.errors import DeploycoreError, with_next_step
from deploycore.store import DeploymentState, Store
from deploycore.worker import Worker

__all__ = ["Metrics"]

logger = logging.getLogger(__name__)

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counts requests and deliveries, and reads other values from the store.

    Args:
        worker: The worker of this process, if there is one.
    """

    def __init__(self, store: Store, worker: Worker | None) -> None:
        self._registry = CollectorRegistry()
        self.webhooks = Counter(
            "deploycore_webhooks",
            "Webhook deliveries, by result and reason.",
            ["outcome", "reason"],
            registry=self._registry,
        )
        self.requests = Histogram(
            "deploycore_http_request_seconds",
            "Time of requests, until the response's header was sent.",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_FromStore(store, worker))

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _FromStore(Collector):
    def __init__(self, store: Store, worker: Worker | None) -> None:
        self._store = store
        self._worker = worker

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering needs no database query."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the current values; those from the store are left out if the database cannot be
        used."""
        worker = self._worker
        yield GaugeMetricFamily(
            "deploycore_worker_threads",
            "Maximum number of deployments at once in this process.",
            value=worker.threads if worker is not None and worker.is_well else 0,
        )
        try:
            yield from list(self._of_store())
        except DeploycoreError as error:
            logger.warning(
                "metrics leave out the database, which cannot be read: %s", with_next_step(error)
            )

    def _expiries(self) -> Metric:
        left = GaugeMetricFamily(
            "deploycore_provider_credential_expiry_seconds",
            "Time until the credentials of a provider expire, where that is known; negative after.",
            labels=["provider"],
        )
        now = datetime.now(UTC)
        for record in self._store.list_providers():
            if record.expires_at is not None:
                left.add_metric([record.name], (record.expires_at - now).total_seconds())
        return left

    def _of_store(self) -> Iterator[Metric]:
        yield self._expiries()
        counted = self._store.deployments.count_by_state()
        states = GaugeMetricFamily(
            "deploycore_deployments", "Deployments in the database, by state.", labels=["state"]
        )
        for state in get_args(DeploymentState):
            states.add_metric([state], counted.get(state, 0))
        yield states
        triggers = self._store.triggers.counts()
        depth = GaugeMetricFamily(
            "deploycore_triggers_waiting",
            "Triggers in the queue, by whether a worker may try them now.",
            labels=["due"],
        )
        depth.add_metric(["now"], triggers.due)
        depth.add_metric(["later"], triggers.postponed)
        yield depth
        yield GaugeMetricFamily(
            "deploycore_triggers_oldest_seconds",
            "Time that the oldest trigger in the queue has waited.",
            value=triggers.oldest_seconds,
        )
