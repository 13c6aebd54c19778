"""How the site is built: ``sphinx-build -n -W --keep-going docs SITE``.

With ``-n -W`` each link and each reference that leads nowhere ends the build with an error.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer  # type: ignore[import-untyped]
from sphinx.application import Sphinx

import deploycore
import deploycore.deploy
import deploycore.git
import deploycore.installation.installation
import deploycore.plugin_parts
import deploycore.refs_only
import deploycore.testing.contract
import deploycore.testing.git_http
import deploycore.testing.repositories

sys.path.insert(0, str(Path(__file__).parent))
from generated import import_for_annotations

import_for_annotations()

# A build makes many objects and keeps most: looking for garbage took a quarter of its time.
gc.set_threshold(50_000, 100, 100)

project = "deploycore"
author = "the deploycore authors"
version = release = deploycore.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated",
    "navigation",
]

exclude_patterns = ["reference_sources"]

html_theme = "furo"
html_title = f"deploycore {release}"
html_show_copyright = False
html_show_sphinx = False

smartquotes = False  # it would make one dash of the two before an option
myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "model_config",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # signatures tell the types

# What is not ours and can't be looked up without a network; and what has no page: type
# variables, and the checks behind annotated types.
nitpick_ignore = [
    ("py:class", "EventKind"),
    ("py:class", "FieldFormat"),
    ("py:class", "Path"),
    ("py:class", "SecretStr"),
    ("py:class", "datetime"),
    ("py:class", "datetime.datetime"),
    ("py:class", "datetime.timedelta"),
    ("py:class", "timedelta"),
    ("py:class", "deploycore.credentials.keeper.TokenSource"),
    ("py:class", "deploycore.installation.provider_changes.ProviderChanges"),
    ("py:class", "deploycore.provider.core_fields.CoreFields"),
    ("py:class", "deploycore.provider.stored_credentials.StoredCredentials"),
    ("py:class", "deploycore.store.store.Store"),
    ("py:class", "deploycore.testing.git_over_ssh.GitOverSsh"),
    ("py:class", "deploycore.installation.deploy_keys.DeployKeys"),
    ("py:class", "deploycore.provider.connection.OtherCredentials"),
    ("py:class", "deploycore.store.records.DeployKeyRecord"),
    ("py:class", "deploycore.testing.deploy_keys.DeployKeys"),
    ("py:class", "pathlib.Path"),
]
nitpick_ignore_regex = [
    ("py:class", r"(_pytest|collections\.abc|dulwich|pydantic)\..+"),
    ("py:class", r"deploycore\..+\.(T|U|_\w+)"),
]


def setup(app: Sphinx) -> None:
    """Show diagrams as text: git hosts draw them, and the site runs no scripts of others."""
    app.add_lexer("mermaid", TextLexer)
