"""Find problems of an installation and say how to fix them, without changing anything.

Checks must work on a broken installation, so no check relies on another one or on existing files.
"""

from deploycore.doctor.examination import diagnose
from deploycore.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "diagnose"]
