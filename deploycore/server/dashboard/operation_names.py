"""The names of operations in the audit log, for people."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OPERATION_NAMES", "operation_name"]

OPERATION_NAMES: Mapping[str, str] = {
    "put_application": "Application changed",
    "delete_application": "Application removed",
    "request_deployment": "Deployment requested",
    "roll_back": "Rollback started",
    "cancel_deployment": "Deployment canceled",
    "recognize_address": "Address recognized",
    "add_provider": "Provider added",
    "change_provider": "Provider edited",
    "remove_provider": "Provider removed",
    "test_provider": "Provider tested",
    "begin_sign_in": "Authorization started",
    "finish_sign_in": "Provider authorized",
    "put_variable": "Variable changed",
    "delete_variable": "Variable removed",
    "register_webhook": "Webhook registered",
    "remove_webhook": "Webhook removed",
    "rotate_webhook": "Webhook secret replaced",
    "reveal_webhook_secret": "Webhook secret shown",
    "create_application_key": "Deploy key created",
    "create_provider_key": "Deploy key created",
    "rotate_application_key": "Deploy key replaced",
    "rotate_provider_key": "Deploy key replaced",
    "remove_application_keys": "Deploy keys removed",
    "remove_provider_keys": "Deploy keys removed",
    "accept_repository": "New repository accepted",
    "recover_deployments": "Deployments recovered",
    "prune_cache": "Cache pruned",
    "remove_from_cache": "Repository removed from the cache",
    "add_user": "User added",
    "change_user": "User changed",
    "delete_user": "User removed",
    "create_user_link": "One-time link created",
    "end_user_sessions": "User signed out everywhere",
    "add_token": "Token added",
    "delete_token": "Token removed",
    "end_session": "Signed out in one browser",
    "end_sessions": "Signed out everywhere",
    "change_password": "Password changed",
    "sign_in": "Sign-in",
    "sign_out": "Sign-out",
    "use_link": "One-time link used",
}
"""By the technical name: the operation of the REST API, or the name that a page records."""


def operation_name(operation: str) -> str:
    """Return the name of an operation. An unknown name is the path of a form that was refused."""
    return OPERATION_NAMES.get(operation) or operation.replace("_", " ").capitalize()
