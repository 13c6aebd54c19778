"""How the site is built: ``sphinx-build -n -W --keep-going docs SITE``.

With ``-n -W`` each link and each reference that leads nowhere ends the build with an error.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import deploycore

sys.path.insert(0, str(Path(__file__).parent))
for name in deploycore.__all__:
    getattr(deploycore, name)  # is loaded when it is first used; autodoc sees what is there

project = "deploycore"
author = "the deploycore authors"
version = release = deploycore.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated",
]

html_theme = "furo"
html_title = f"deploycore {release}"
html_show_copyright = False
html_show_sphinx = False

smartquotes = False  # it would make one dash of the two before an option
myst_heading_anchors = 3

# The kit for provider authors has its page as soon as there is a kit.
exclude_patterns = [] if find_spec("deploycore.testing") else ["reference/testing.md"]

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "model_config",
}
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # signatures tell the types

# What is not ours, and can't be looked up without a network.
nitpick_ignore = [
    ("py:class", "Path"),
    ("py:class", "pathlib.Path"),
    ("py:class", "datetime.datetime"),
    ("py:class", "pydantic.main.BaseModel"),
    ("py:class", "pydantic.types.SecretStr"),
    ("py:class", "SecretStr"),
]
nitpick_ignore_regex = [("py:class", r"collections\.abc\..+")]
