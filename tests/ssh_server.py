"""OpenSSH's server on the loopback address with git, and a proxy that breaks connections.

The server runs as the user who runs the tests, and accepts only this user. See the fixture ``sshd``
in ``tests/conftest.py``.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from deploycore.models import CloneUrl, SshCredential
from deploycore.ssh import process

_TRIES = 3
CONFIGURATION = """
Port {port}
Port {port_0}
ListenAddress 127.0.0.1
HostKey {host_key}
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 1000
LogLevel VERBOSE
SetEnv HOME={home} PATH={programs}:{path} GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
{more}
Match LocalPort {port}
  AcceptEnv GIT_PROTOCOL
"""


def why_not():
    """Why no server can be run here; empty if one can."""
    missing = [each for each in ("sshd", "ssh-keygen", "git") if not _program(each)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.getuid() == 0 and not _has_place_of_root():
        return "/run/sshd cannot be made, which sshd needs for root"
    try:
        shell = pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:
        return "this user has no entry in the user database, in which sshd looks it up"
    return f"this user has no shell but {shell}" if shell.endswith(("nologin", "false")) else ""


def _program(name):
    return shutil.which(
        name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    )


def _has_place_of_root():
    with suppress(OSError):
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    return os.path.isdir("/run/sshd")


def make_key(path, kind="ed25519", passphrase="", form="RFC4716"):
    """Create a key pair with ``ssh-keygen``, in the OpenSSH or PEM format; return the path of the
    private key."""
    more = ["-b", "2048"] if kind == "rsa" else []
    more += ["-m", form]
    command = ["ssh-keygen", "-q", "-t", kind, *more, "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def _free_port():
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Sshd:
    """A running server.

    Attributes:
        root: The directory whose repositories it serves.
        port: The port on which it listens.
        port_0: Another port, on which it does not accept ``GIT_PROTOCOL``.
        user: The user that has to sign in.
        programs: A directory whose programs commands can use, such as ``git-lfs-authenticate``.
        authorized: The file with the public keys that may sign in; ``authorize`` adds to it.
        key: A private key that may sign in.
    """

    def __init__(self, directory, more=""):
        self.directory = directory
        self.root = directory / "served"
        self.programs = directory / "programs"
        # An empty home, so that no shell runs what the user has in .bashrc, as on no git host.
        self.home = directory / "home-of-server"
        for each in (self.root, self.programs, self.home):
            each.mkdir(exist_ok=True)
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.authorized = directory / "authorized_keys"
        self.host_key = make_key(directory / "host")
        self.key = make_key(directory / "client")
        self.more = more
        self.authorized.touch()
        self.authorize(self.key)
        self._process = None
        self.port = self.port_0 = 0
        for _ in range(_TRIES):  # another process may have taken a port that was free
            self.port, self.port_0 = _free_port(), _free_port()
            if self.start():
                return
        raise AssertionError(f"sshd did not start: {self.log}")

    def authorize(self, key):
        """Authorize a key, by the path of its private part. The public part is in the same
        directory."""
        with self.authorized.open("a") as file:
            file.write(Path(f"{key}.pub").read_text())

    def start(self):
        """Start it, with another key if ``host_key`` was changed; return whether it runs."""
        configuration = self.directory / "sshd_config"
        values = {
            "port": self.port,
            "port_0": self.port_0,
            "host_key": self.host_key,
            "authorized": self.authorized,
            "home": self.home,
            "programs": self.programs,
            "path": os.environ.get("PATH", os.defpath),
            "more": self.more + _penalties(),
        }
        configuration.write_text(CONFIGURATION.format(**values))
        log = self.directory / "log"
        with log.open("ab") as messages:
            self._process = subprocess.Popen(
                [_program("sshd"), "-D", "-e", "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stderr=messages,
            )
        return all(self._is_there(port) for port in (self.port, self.port_0))

    def _is_there(self, port):
        end = time.monotonic() + 30
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
                    return True
            except OSError:
                time.sleep(0.02)
        return False

    def stop(self):
        """Stop it. Open connections end by themselves."""
        self._process.terminate()
        self._process.wait()

    @property
    def log(self):
        """Return its log."""
        return (self.directory / "log").read_text()

    @property
    def host_keys(self):
        """Lines of ``known_hosts`` for both ports."""
        kind, data = Path(f"{self.host_key}.pub").read_text().split()[:2]
        return tuple(f"[127.0.0.1]:{port} {kind} {data}" for port in (self.port, self.port_0))

    def url(self, path, *, port=None):
        """The URL of a repository: a path, or a name below ``root``."""
        return f"ssh://{self.user}@127.0.0.1:{port or self.port}{self.root / path}"

    def credential(self, key=None, **more):
        """Return a credential: by default with ``key``, and only for this server."""
        text = SecretStr(Path(key or self.key).read_text())
        return SshCredential(**{"private_key": text, "host_keys": self.host_keys, **more})

    def source(self, path, *, port=None, **more):
        """Return a repository's URL and credential."""
        return CloneUrl(url=self.url(path, port=port), credential=self.credential(**more))

    def git_environment(self, key=None):
        """Return variables with which a standard git client can sign in."""
        known = self.directory / "known_hosts"
        known.write_text("\n".join(self.host_keys) + "\n")
        command = f"ssh -F none -i {key or self.key} -o IdentitiesOnly=yes -o BatchMode=yes"
        command += f" -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null"
        return {"GIT_SSH_COMMAND": command}


@functools.cache
def _penalties():
    """Turn off the delay after a failed sign-in, which newer servers have."""
    option = "PerSourcePenalties no"
    command = [_program("sshd"), "-T", "-f", os.devnull, "-o", option.replace(" ", "=")]
    done = subprocess.run(command, capture_output=True, check=False)
    return f"\n{option}" if b"Bad configuration option" not in done.stderr else ""


class Proxy:
    """Forwards connections to a port, and breaks them.

    Args:
        to: The port to forward to.
        cut_after: Close both sides after this number of bytes from the server.
        silent_after: Stop forwarding after this number of bytes, without closing the connection.
        trickle: With ``silent_after``, continue to forward a byte at a time, with this number of
            seconds between.
        times: The number of connections to break (default: all).

    Attributes:
        port: The port on which it listens.
        passed: The number of bytes from the server, for the connection with the most bytes.
        connections: The number of connections so far.
    """

    def __init__(self, to, *, cut_after=None, silent_after=None, trickle=None, times=sys.maxsize):
        self._to, self._cut_after, self._times = to, cut_after, times
        self.breaks(silent_after=silent_after, trickle=trickle)
        self.passed = self.connections = 0
        self._sockets = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def breaks(self, *, silent_after=None, trickle=None):
        """Break new connections from now on, with the arguments of the class."""
        self._silent_after, self._trickle = silent_after, trickle

    def mend(self):
        """Stop breaking new connections."""
        self.breaks()

    def _accept(self):
        with suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                for one, other, counts in ((client, server, False), (server, client, True)):
                    is_broken = counts and self.connections <= self._times
                    arguments = (one, other, counts, is_broken)
                    thread = threading.Thread(target=self._pump, args=arguments)
                    thread.daemon = True
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, one, other, counts, is_broken):
        passed, limit = 0, None
        if is_broken:
            limit = self._cut_after if self._cut_after is not None else self._silent_after
        with suppress(OSError):
            while data := one.recv(64 * 1024):
                left = None if limit is None else max(0, limit - passed)
                if left is None or left >= len(data):
                    other.sendall(data)
                else:
                    other.sendall(data[:left])
                    if self._cut_after is None:
                        self._forward_slowly(data[left:], other)
                        return
                    break
                passed += len(data)
                if counts:
                    self.passed = max(self.passed, passed)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _forward_slowly(self, data, other):
        while self._trickle and data:
            other.sendall(data[:1])
            data = data[1:]
            time.sleep(self._trickle)

    def close(self):
        """Stop it, and close all connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # closed under it, its port could be another server's
        self._listening.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for each in self._threads[1:]:
            each.join(10)
        for each in self._sockets:
            each.close()


@contextmanager
def proxy(to, **options):
    """Yield a proxy that is stopped at the end of the block."""
    running = Proxy(to, **options)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def forked_ssh_process(monkeypatch):
    """Yield a process that is prepared for the first connection, as by ``deploycore clone``."""
    # The other threads of the test process only wait.
    monkeypatch.setattr(process, "_can_fork", lambda: True)
    with ExitStack() as until_end:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* multi-threaded", DeprecationWarning)
            until_end.enter_context(process.prepared())
        found = process.find_prepared()
        assert found is not None
        yield found
