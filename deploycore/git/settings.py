"""Timeouts and limits of git operations: what a hostile or broken server can't exceed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EscapingLinks", "GitSettings", "Reuse"]

#: How files that did not change are taken over from a former release.
Reuse = Literal["copy", "hard-link"]
#: What becomes of symbolic links that lead out of the release. The last one is what git does.
EscapingLinks = Literal["refuse", "write-as-files", "write-as-links"]

_GIB = 1024**3


@dataclass(frozen=True)
class GitSettings:
    """Timeouts, retries and limits. Times are seconds, sizes bytes.

    Within the limits that are the default, no repository whose largest file fits in 64 MiB takes
    more than 100 MB of memory on top of what the interpreter takes.

    Attributes:
        connect_timeout: For one connection.
        read_timeout: Between two arrivals of data.
        total_timeout: For one whole export or clone, submodules included.
        retries: Tries of one fetch after the first, after broken connections and timeouts.
        retry_wait: What is waited before the second try; doubles with each.
        max_pack_bytes: All that is received for one repository.
        max_object_bytes: The largest file, uncompressed.
        max_checkout_bytes: All files together, uncompressed, submodules included.
        max_files: Files and directories together, submodules included.
        max_objects: In one pack.
        max_tree_bytes: All trees of one repository together: of each file and directory the
            name, the hash and some 8 bytes. They are in memory while files are written.
        max_held_bytes: What is held in memory until the end: of each symbolic link, place of a
            submodule, ``.gitattributes`` and file in LFS the path, the content and 256 bytes;
            of each rule in a ``.gitattributes`` that is obeyed some 500 bytes.
        max_path_depth: Directories within directories, in one repository.
        max_submodules: Submodules together, those of submodules included.
        max_submodule_depth: Submodules within submodules.
        ca_bundle: A file or directory of certificates to trust instead of those that
            REQUESTS_CA_BUNDLE names, or the default ones: the same as for REST.
        client_certificate: A PEM file with the certificate to show to the repository's server,
            and its key unless ``client_key`` names another file. Servers of submodules and of
            Git LFS are shown it only if they are of the same origin.
        client_key: A PEM file with the key of ``client_certificate``.
        use_proxies: Whether HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are obeyed.
        allow_plain_http: Whether credentials may travel unencrypted to other machines.
        max_lfs_objects: Files kept in Git LFS, submodules included.
        max_lfs_bytes: All those files together.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 1800.0
    retries: int = 2
    retry_wait: float = 0.5
    max_pack_bytes: int = 4 * _GIB
    max_object_bytes: int = _GIB // 2
    max_checkout_bytes: int = 16 * _GIB
    max_files: int = 400_000
    max_objects: int = 1_000_000
    max_tree_bytes: int = 48 * 1024**2
    max_held_bytes: int = 16 * 1024**2
    max_path_depth: int = 128
    max_submodules: int = 1000
    max_submodule_depth: int = 8
    ca_bundle: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    use_proxies: bool = True
    allow_plain_http: bool = False
    max_lfs_objects: int = 10_000
    max_lfs_bytes: int = 16 * _GIB
