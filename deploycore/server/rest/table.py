"""The table of API operations: path, role, input and responses of each.

Routes, authorization, the OpenAPI document and the dashboard use it, so they always agree.
"""

from __future__ import annotations

from deploycore.applications.application import Application
from deploycore.server import views
from deploycore.server.api import METRICS_MEDIA_TYPE, PREFIX, Api
from deploycore.server.rest import (
    account,
    applications,
    audit,
    cache,
    deploy_keys,
    diagnosis,
    environment,
    events,
    logs,
    overview,
    provider_kinds,
    providers,
    recovery,
    releases,
    removal,
    repositories,
    sign_ins,
    suggestions,
    tokens,
    users,
    webhooks,
)
from deploycore.server.rest.operation import Operation

__all__ = ["OPERATIONS"]

_APPLICATION = f"{PREFIX}/applications/{{application}}"
_DEPLOYMENT = f"{PREFIX}/deployments/{{deployment}}"

OPERATIONS = (
    Operation("GET", "/healthz", None, Api.health, {200: views.Health}),
    Operation("GET", "/readyz", None, Api.ready, {200: views.Health, 503: views.Health}),
    Operation("GET", "/metrics", "read", Api.metrics, {200: None}, media_type=METRICS_MEDIA_TYPE),
    Operation("GET", f"{PREFIX}/openapi.json", None, Api.openapi, {200: None}),
    *applications.OPERATIONS,
    Operation(
        "PUT",
        _APPLICATION,
        "admin",  # its steps run on this machine
        Api.put_application,
        {200: views.Changed, 201: views.Changed},
        query=views.ApplicationQuery,
        body=Application,
        refusals=(404, 409, 502, 504),
    ),
    Operation(
        "DELETE",
        _APPLICATION,
        "admin",
        Api.delete_application,
        {200: views.Removed, 204: None},
        query=views.RemovalQuery,
        refusals=(409,),
    ),
    Operation(
        "POST",
        f"{_APPLICATION}/deployments",
        "deploy",
        Api.request_deployment,
        {202: views.TriggerView},
        body=views.DeploymentRequest,
        refusals=(409,),
    ),
    Operation(
        "POST",
        f"{_APPLICATION}/rollback",
        "deploy",
        Api.roll_back,
        {202: views.DeploymentView},
        body=views.RollbackRequest,
        refusals=(409,),
    ),
    Operation(
        "GET",
        f"{PREFIX}/deployments",
        "read",
        Api.list_deployments,
        {200: views.DeploymentPage},
        query=views.DeploymentQuery,
        refusals=(404,),
    ),
    Operation("GET", _DEPLOYMENT, "read", Api.get_deployment, {200: views.DeploymentView}),
    Operation(
        "POST",
        f"{_DEPLOYMENT}/cancel",
        "deploy",
        Api.cancel_deployment,
        {202: views.DeploymentView},
        refusals=(409,),
    ),
    Operation(
        "GET",
        f"{_DEPLOYMENT}/log",
        "read",
        Api.read_log,
        {200: views.LogPage},
        query=views.LogQuery,
        can_follow=True,
    ),
    Operation(
        "GET", f"{PREFIX}/triggers/{{trigger}}", "read", Api.get_trigger, {200: views.TriggerView}
    ),
    *diagnosis.OPERATIONS,
    *overview.OPERATIONS,
    *releases.OPERATIONS,
    *logs.OPERATIONS,
    *events.OPERATIONS,
    *provider_kinds.OPERATIONS,
    *providers.OPERATIONS,
    *sign_ins.OPERATIONS,
    *repositories.OPERATIONS,
    *suggestions.OPERATIONS,
    *environment.OPERATIONS,
    *webhooks.OPERATIONS,
    *deploy_keys.OPERATIONS,
    *removal.OPERATIONS,
    *recovery.OPERATIONS,
    *cache.OPERATIONS,
    *users.OPERATIONS,
    *tokens.OPERATIONS,
    *audit.OPERATIONS,
    *account.OPERATIONS,
)
"""All operations except the webhook's, which requires a signature instead of a role."""
