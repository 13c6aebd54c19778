"""The dashboard: pages that are rendered on the server from what the REST API's operations return.

A page is a function in ``pages``, listed in ``table`` with the role that it needs. It gets a
:class:`~deploycore.server.dashboard.visit.Visit`, which runs operations as the user who is signed
in. All pages and forms work without JavaScript.
"""

from deploycore.server.dashboard.dashboard import Dashboard

__all__ = ["Dashboard"]
