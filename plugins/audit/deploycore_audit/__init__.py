"""An audit log for deploycore. It records who deployed what, as lines of JSON in a file."""

from __future__ import annotations

from deploycore_audit.configuration import AuditConfig
from deploycore_audit.file import AuditFile
from deploycore_audit.observer import AuditObserver

__all__ = ["AuditConfig", "AuditFile", "AuditObserver"]
