"""Operations on configured providers: add, change, test and remove them."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode

from starlette.responses import Response

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.installation.provider_test import count_repositories, prove_credentials
from deploycore.provider.core_fields import about_field
from deploycore.provider.registry import load_plugin
from deploycore.provider.stored_credentials import flow_of
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.checking import checked
from deploycore.server.problems import refused_by
from deploycore.server.rest.operation import Operation
from deploycore.server.rest.provider_input import (
    Proof,
    explaining_host_keys,
    refuse_other_generation,
    refusing_conflicts,
    secrets_of,
)
from deploycore.server.rest.provider_records import limited, provider_record, views_of
from deploycore.server.rest.provider_views import (
    ChangedProvider,
    DifferenceView,
    ProviderAccountView,
    ProviderChangeGiven,
    ProviderDetailView,
    ProviderGiven,
    ProviderPage,
    ProviderQuery,
    ProviderTestGiven,
    ProviderTestView,
    RemovedProvider,
    StoredProvider,
)
from deploycore.tokens import DeviceFlow

__all__ = ["OPERATIONS"]

PROVIDER = f"{PREFIX}/providers/{{provider}}"

_COUNTED_MOST = 1000
_HOST_REFUSALS = (404, 502, 504)
"""The error responses of operations that send requests to the git host: not found, failed, or too
late."""


def list_providers(api: Api, call: Call) -> Response:
    """List the configured providers by name, without their secrets."""
    query: ProviderQuery = call.query
    records = api.installation.store.page_of_providers(
        after=query.after or "", limit=query.limit + 1
    )
    items = records[: query.limit]
    following = None
    if len(records) > len(items):
        following = (
            f"{PREFIX}/providers?{urlencode({'after': items[-1].name, 'limit': query.limit})}"
        )
    return answer(ProviderPage(items=views_of(api, items), next=following))


def get_provider(api: Api, call: Call) -> Response:
    """Get a provider without its secrets, and whether someone has to sign in before it can be used.

    No request is sent to the git host.
    """
    record = provider_record(api, call.path["provider"])
    changes = api.installation.provider_changes
    flow, must_sign_in, problem = None, False, None
    try:
        flow = flow_of(changes.plan(record.name, {}, {}).config)
        must_sign_in = flow is not None and changes.needs_sign_in(record.name)
    except DeploycoreError as error:
        problem = error
    way = None if flow is None else "device" if isinstance(flow, DeviceFlow) else "browser"
    return answer(
        ProviderDetailView(
            provider=views_of(api, [record])[0],
            sign_in=way,
            must_sign_in=must_sign_in,
            deploy_keys=len(api.installation.store.deploy_keys.at(record.name)),
            problem=problem.message if problem else None,
            hint=problem.hint if problem else "",
        )
    )


def add_provider(api: Api, call: Call) -> Response:
    """Add a provider.

    The fields of its kind are in GET /api/v1/provider-kinds/{kind}. The provider is stored only if
    the git host accepts the credentials, unless "verify" is false. The details of an error about
    fields have the list "fields", with the name and the problem of each.
    """
    given = checked(ProviderGiven, call.body)
    installation, proof = api.installation, Proof(api)
    if re.fullmatch(NAME_PATTERN, given.name):  # otherwise it is reported with all other problems
        with about_field("name"):  # before the request to the git host
            installation.store.refuse_taken_provider(given.name)
    plugin = load_plugin(given.kind)
    secrets = secrets_of(plugin.config_type, given.settings, given.secrets, given.references)
    with explaining_host_keys():
        record = proof.store(
            lambda: installation.add_provider(
                given.name,
                plugin.kind,
                given.settings,
                {name: each for name, each in secrets.items() if each is not None},
                verify=proof.verify if given.verify else None,
            )
        )
    api.directory.invalidate()
    is_proved = proof.account is not None
    must_sign_in = not is_proved and installation.provider_changes.needs_sign_in(record.name)
    view = StoredProvider(
        provider=views_of(api, [record])[0],
        account=proof.account,
        must_sign_in=must_sign_in,
    )
    location = f"{PREFIX}/providers/{record.name}"
    return answer(view, status=201, headers={"Location": location})


def change_provider(api: Api, call: Call) -> Response:
    """Change fields of a provider, or replace its secrets.

    The change is stored only if the git host accepts the credentials, unless "verify" is false.
    Applications, their history and their webhooks do not change. Running deployments continue.
    """
    given = checked(ProviderChangeGiven, call.body)
    record = provider_record(api, call.path["provider"])
    refuse_other_generation(record, given.generation)
    changes, proof = api.installation.provider_changes, Proof(api)
    config_type = load_plugin(record.kind).config_type
    secrets = secrets_of(config_type, given.settings, given.secrets, given.references)
    change = changes.plan(record.name, given.settings, secrets)
    is_stored = bool(change.differences) and not given.dry_run
    if is_stored:
        kept = None if given.keep_old is None else timedelta(seconds=given.keep_old)
        verify = proof.verify if given.verify else None
        with explaining_host_keys(), refusing_conflicts(api, record):
            record = proof.store(lambda: changes.store(change, verify=verify, keep_former=kept))
        api.directory.invalidate()
    must_sign_in = flow_of(change.config) is not None and proof.account is None
    return answer(
        ChangedProvider(
            provider=views_of(api, [record])[0],
            account=proof.account,
            must_sign_in=must_sign_in and changes.needs_sign_in(record.name),
            is_stored=is_stored,
            differences=[DifferenceView.model_validate(each) for each in change.differences],
        )
    )


def remove_provider(api: Api, call: Call) -> Response:
    """Remove a provider that no application uses, and its stored secrets.

    Its deploy keys are removed at the git host too. The response lists what you have to remove at
    the git host yourself.
    """
    record = provider_record(api, call.path["provider"])
    installation, store = api.installation, api.installation.store
    try:
        store.refuse_provider_removal(record.name)
        keys = store.deploy_keys.at(record.name)
        remove = installation.deploy_keys.remove_at_host
        remains = [each for key in keys for each in api.hosts.ask(partial(remove, key))]
        store.remove_provider(record.name)
    except ConfigurationError as error:
        raise refused_by(error, status=409) from None
    api.directory.invalidate()
    return answer(RemovedProvider(remains=[str(each) for each in remains]))


def test_provider(api: Api, call: Call) -> Response:
    """Test a provider's credentials and API, and count the accessible repositories.

    At most 1000 repositories are counted.
    """
    given = checked(ProviderTestGiven, call.body)
    record = provider_record(api, call.path["provider"])
    return answer(api.hosts.ask(lambda: _tested(api, record.name, given.repository)))


def _tested(api: Api, name: str, repository: str | None) -> ProviderTestView:
    installation, wanted = api.installation, None
    with installation.open_provider(name) as opened:
        provider = limited(opened)
        if repository is not None:
            wanted = installation.read_repository(name, repository)
        started = time.monotonic()
        account = prove_credentials(provider, wanted)
        milliseconds = round((time.monotonic() - started) * 1000)
        found = count_repositories(provider, wanted, most=_COUNTED_MOST)
    return ProviderTestView(
        account=ProviderAccountView.model_validate(account),
        milliseconds=milliseconds,
        repositories=found.count,
        has_more=found.has_more,
        hint=found.hint,
    )


OPERATIONS = (
    Operation(
        "GET",
        f"{PREFIX}/providers",
        "read",
        list_providers,
        {200: ProviderPage},
        query=ProviderQuery,
    ),
    Operation(
        "POST",
        f"{PREFIX}/providers",
        "admin",
        add_provider,
        {201: StoredProvider},
        body=ProviderGiven,
        refusals=_HOST_REFUSALS,
    ),
    Operation("GET", PROVIDER, "read", get_provider, {200: ProviderDetailView}),
    Operation(
        "PATCH",
        PROVIDER,
        "admin",
        change_provider,
        {200: ChangedProvider},
        body=ProviderChangeGiven,
        refusals=(409, *_HOST_REFUSALS),
    ),
    Operation(
        "DELETE",
        PROVIDER,
        "admin",
        remove_provider,
        {200: RemovedProvider},
        refusals=(409, *_HOST_REFUSALS),
    ),
    Operation(
        "POST",
        f"{PROVIDER}/test",
        "deploy",
        test_provider,
        {200: ProviderTestView},
        body=ProviderTestGiven,
        refusals=_HOST_REFUSALS,
    ),
)
