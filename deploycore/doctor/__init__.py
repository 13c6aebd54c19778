"""What is wrong with an installation, and how to mend it: looked at from outside, nothing changed.

For whom nothing works any more: no check relies on another one, or on anything being there.
"""

from deploycore.doctor.examination import diagnose
from deploycore.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "diagnose"]
