"""Labels for people, made from technical names."""

from __future__ import annotations

import re

__all__ = ["label_from"]

_WORDS = {
    "api": "API",
    "ca": "CA",
    "http": "HTTP",
    "https": "HTTPS",
    "id": "ID",
    "jwt": "JWT",
    "lfs": "LFS",
    "oauth": "OAuth",
    "oauth2": "OAuth2",
    "oidc": "OIDC",
    "pat": "PAT",
    "saml": "SAML",
    "ssh": "SSH",
    "sso": "SSO",
    "tls": "TLS",
    "uri": "URI",
    "url": "URL",
}
"""Words that are written in another way than in lower case."""


def label_from(name: str) -> str:
    """Return a label: ``app-password`` is "App password", ``ssh_key`` is "SSH key"."""
    words = [each for each in re.split(r"[-_\s]+", name) if each]
    labels = [_WORDS.get(each.lower(), each) for each in words]
    if labels and words[0].lower() not in _WORDS:
        labels[0] = labels[0][:1].upper() + labels[0][1:]
    return " ".join(labels)
