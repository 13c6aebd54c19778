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
        pack_bytes_most: All that is received for one repository.
        object_bytes_most: The largest file, uncompressed.
        checkout_bytes_most: All files together, uncompressed, submodules included.
        files_most: Files and directories together, submodules included.
        objects_most: In one pack.
        tree_bytes_most: All trees of one repository together: of each file and directory the
            name, the hash and some 8 bytes. They are in memory while files are written.
        held_bytes_most: What is held in memory until the end: of each symbolic link, place of a
            submodule, ``.gitattributes`` and file in LFS the path, the content and 256 bytes;
            of each rule in a ``.gitattributes`` that is obeyed some 500 bytes.
        path_depth_most: Directories within directories, in one repository.
        submodules_most: Submodules together, those of submodules included.
        submodule_depth_most: Submodules within submodules.
        ca_bundle: A file or directory of certificates to trust instead of those that
            REQUESTS_CA_BUNDLE names, or the default ones: the same as for REST.
        client_certificate: A PEM file with the certificate to show to the repository's server,
            and its key unless ``client_key`` names another file. Servers of submodules and of
            Git LFS are shown it only if they are of the same origin.
        client_key: A PEM file with the key of ``client_certificate``.
        use_proxies: Whether HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are obeyed.
        allow_plain_http: Whether credentials may travel unencrypted to other machines.
        lfs_objects_most: Files kept in Git LFS, submodules included.
        lfs_bytes_most: All those files together.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 1800.0
    retries: int = 2
    retry_wait: float = 0.5
    pack_bytes_most: int = 4 * _GIB
    object_bytes_most: int = _GIB // 2
    checkout_bytes_most: int = 16 * _GIB
    files_most: int = 400_000
    objects_most: int = 1_000_000
    tree_bytes_most: int = 48 * 1024**2
    held_bytes_most: int = 16 * 1024**2
    path_depth_most: int = 128
    submodules_most: int = 1000
    submodule_depth_most: int = 8
    ca_bundle: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    use_proxies: bool = True
    allow_plain_http: bool = False
    lfs_objects_most: int = 10_000
    lfs_bytes_most: int = 16 * _GIB
