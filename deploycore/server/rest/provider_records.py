"""Read configured providers for operations."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError
from deploycore.provider import Provider
from deploycore.provider.display import name_from
from deploycore.provider.kinds import Kind, host_in, installed_kinds
from deploycore.provider.limits import CallLimit
from deploycore.server.api import PREFIX, Api, missing
from deploycore.server.problems import Refusal
from deploycore.server.rest.provider_views import ProviderView
from deploycore.store import ProviderRecord
from deploycore.text.labels import label_from

__all__ = ["limited", "provider_record", "views_of"]

_NAMES_MOST = 10
_CALL_SECONDS = 60.0


def provider_record(api: Api, name: str) -> ProviderRecord:
    """Return the provider of a path.

    Raises:
        Refusal: The provider does not exist (404).
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise Refusal(
            404,
            "not_found",
            f"The provider {name[:64]!r} does not exist.",
            hint=f"List the providers: GET {PREFIX}/providers",
        )
    try:
        return api.installation.store.get_provider(name)
    except ConfigurationError as error:
        raise missing(error) from None


def limited(provider: Provider) -> Provider:
    """Return the same provider with a limit for each call, so that none holds a thread forever."""
    return provider.within(CallLimit(_CALL_SECONDS, lambda: None))


def views_of(api: Api, records: Sequence[ProviderRecord]) -> list[ProviderView]:
    """Return the views of providers, with the applications that use them."""
    kinds = {each.kind: each for each in installed_kinds({each.kind for each in records})}
    used = api.installation.store.applications_of_providers(
        [each.name for each in records], most=_NAMES_MOST
    )
    signed_in = api.installation.store.provider_tokens.holders([each.name for each in records])
    return [
        _view(
            each,
            kinds.get(each.kind),
            used.get(each.name, (0, ())),
            is_signed_in=each.name in signed_in,
        )
        for each in records
    ]


def _view(
    record: ProviderRecord,
    kind: Kind | None,
    applications: tuple[int, Sequence[str]],
    *,
    is_signed_in: bool,
) -> ProviderView:
    discriminator = kind.discriminator if kind else None
    mode = record.settings.get(discriminator, "") if discriminator else ""
    modes = kind.modes if kind else ()
    known = next((each for each in modes if each.name == mode), None)
    host = host_in(known.fields if known else (), record.settings)
    return ProviderView.of(
        record,
        kind_name=kind.display_name if kind else name_from(record.kind),
        mode=mode,
        mode_label=known.label if known else label_from(mode),
        host=host,
        applications=applications,
        is_signed_in=is_signed_in,
    )
