"""Users of the dashboard, and the sessions of their browsers."""

from deploycore.server.accounts.accounts import Accounts, Visitor

__all__ = ["Accounts", "Visitor"]
