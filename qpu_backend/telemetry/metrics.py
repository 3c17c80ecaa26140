"""Prometheus metrics with bounded labels: device and outcome, never a tenant or a job."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The numbers of one service. Each service has its own registry, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs_admitted = Counter("qpu_jobs_admitted", "Jobs admitted", ["device"], registry=self.registry)
        self.jobs_refused = Counter("qpu_jobs_refused", "Submissions refused", ["code"], registry=self.registry)
        self.jobs_finished = Counter(
            "qpu_jobs_finished", "Jobs finished", ["device", "outcome"], registry=self.registry
        )
        self.batches = Counter("qpu_batches", "Batches committed", ["device"], registry=self.registry)
        self.attempts_failed = Counter(
            "qpu_batch_attempts_failed", "Batch attempts failed", ["device"], registry=self.registry
        )
        self.batch_jobs = Histogram(
            "qpu_batch_jobs", "Jobs per batch", ["device"], buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )
        self.plan_seconds = Histogram(
            "qpu_plan_seconds",
            "Time of one planning decision",
            ["device"],
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
            registry=self.registry,
        )
        self.planner_failures = Counter(
            "qpu_planner_failures",
            "Planning decisions that failed and stopped a device",
            ["device"],
            registry=self.registry,
        )
        self.hints_lost = Counter(
            "qpu_hints_lost", "Connections lost over which processes wake each other", registry=self.registry
        )
        self.database_trouble = Counter(
            "qpu_database_trouble",
            "Transactions that the database could not serve: busy, full or gone",
            ["kind"],
            registry=self.registry,
        )
        self.dispatch_paused = Gauge(
            "qpu_dispatch_paused",
            "Whether a device starts nothing because the database cannot serve",
            ["device"],
            registry=self.registry,
        )
        self.clock_steps_back = Counter(
            "qpu_clock_steps_back", "Times that the machine's clock was set back", registry=self.registry
        )
        self.workers_refused = Counter(
            "qpu_workers_refused", "Calls that no worker process could be started for", registry=self.registry
        )
        self.lease_held = Gauge(
            "qpu_lease_held", "Whether this process holds the device's lease", ["device"], registry=self.registry
        )

        self.reconcile_findings = Gauge(
            "qpu_reconcile_findings", "Differences that the last reconciliation found", registry=self.registry
        )

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
