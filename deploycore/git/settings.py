"""Timeouts and limits of git operations, which a hostile or broken server cannot exceed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deploycore.records import record

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["EscapingLinks", "GitSettings", "Reuse"]

#: How unchanged files of a previous release are reused.
Reuse = Literal["copy", "hard-link"]
#: How symbolic links that lead out of the release are handled. Git does the last one.
EscapingLinks = Literal["refuse", "write-as-files", "write-as-links"]

_GIB = 1024**3


@record
class GitSettings:
    """Timeouts, retries and limits. Times are seconds, sizes bytes.

    With the default limits, a repository whose largest file fits in 64 MiB takes at most 100 MB of
    memory on top of the interpreter's own.

    Attributes:
        connect_timeout: Time to establish one connection.
        read_timeout: Time to wait for more data.
        total_timeout: Time for a whole export or clone, submodules included.
        retries: Number of retries of one fetch after broken connections and timeouts.
        retry_wait: Time to wait before the first retry. It doubles with each retry.
        max_pack_bytes: Size of everything that is received for one repository.
        max_object_bytes: Size of the largest file, uncompressed.
        max_checkout_bytes: Size of all files together, uncompressed, submodules included.
        max_files: Number of files and directories, submodules included.
        max_objects: Number of objects in one pack.
        max_tree_bytes: Size of all trees of one repository, which are in memory while files are
            written. A file or directory counts with its name, its hash and about 8 bytes.
        max_held_bytes: Size of what stays in memory until the end. A symbolic link, a submodule, a
            ``.gitattributes`` file and a file in LFS each count with their path, their content
            and 256 bytes; a rule of a ``.gitattributes`` file with about 500 bytes.
        max_path_depth: Number of directories within each other, in one repository.
        max_submodules: Number of submodules, those of submodules included.
        max_submodule_depth: Number of submodules within each other.
        ca_bundle: A file or directory of CA certificates (default: that of REQUESTS_CA_BUNDLE,
            else those of certifi). API requests use the same.
        client_certificate: A PEM file with a client certificate for the repository's server. It
            also holds the key, unless ``client_key`` is set. Servers of submodules and of Git LFS
            get the certificate only if they have the same origin.
        client_key: A PEM file with the key of ``client_certificate``.
        use_proxies: Whether proxies are used.
        proxy: Address of the proxy for all requests (default: those of HTTPS_PROXY, HTTP_PROXY,
            ALL_PROXY and NO_PROXY). It may hold a user name and a password.
        allow_plain_http: Whether credentials may be sent unencrypted to other machines.
        max_lfs_objects: Number of files in Git LFS, submodules included.
        max_lfs_bytes: Size of all files in Git LFS together.
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
    proxy: SecretStr | None = None
    allow_plain_http: bool = False
    max_lfs_objects: int = 10_000
    max_lfs_bytes: int = 16 * _GIB
