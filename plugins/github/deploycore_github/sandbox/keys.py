"""Private keys of made-up apps, which are the same for the same seed, and their JSON web tokens."""

from __future__ import annotations

import string
import time
from collections.abc import Callable
from functools import cache, lru_cache

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from deploycore.sandbox import SecretSource, secret_source
from deploycore.testing.messages import Refusal

__all__ = ["UNDECODABLE", "issuer_of", "letters", "new_private_key", "public_key", "verify"]

JWT_SECONDS_MOST = 600
UNDECODABLE = "A JSON web token could not be decoded"
FAR_EXPIRY = "'Expiration time' claim ('exp') is too far in the future"
PAST_EXPIRY = (
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at "
    "which the assertion expires"
)
LATE_ISSUE = (
    "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was "
    "issued"
)

Refused = Callable[[int, str], Refusal]

_EXPONENT = 65537
_PRIME_BYTES = 128
_SMALL_PRIMES = [
    number for number in range(3, 2000, 2) if all(number % other for other in range(3, number, 2))
]
_ROUNDS = 8


def new_private_key(number: int) -> SecretStr:
    """Return a private key in the form that GitHub gives to the owner of an app: RSA, 2048 bits,
    PEM.

    With a seed, it is computed from two primes of the sandbox's source of secrets, because
    libraries do not accept a seed.

    Args:
        number: Differs for each key of a sandbox. All sandboxes of a process share the key with the
            same number, because creating a key takes longer than most tests.
    """
    source = secret_source()
    pem = _pem(_of_seed(source)) if source.is_seeded else _random_key(number)
    return SecretStr(source.noted(pem))


@cache
def _random_key(number: int) -> str:
    return _pem(rsa.generate_private_key(_EXPONENT, 2048))


def _pem(key: rsa.RSAPrivateKey) -> str:
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def _of_seed(source: SecretSource) -> rsa.RSAPrivateKey:
    p, q = _prime(source), _prime(source)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q),
    )
    return numbers.private_key()


def _prime(source: SecretSource) -> int:
    """Return a prime whose two highest bits are set, so that the product of two has 2048 bits."""
    highest = 0b11 << (8 * _PRIME_BYTES - 2)
    candidate = int.from_bytes(source.token_bytes(_PRIME_BYTES)) | highest | 1
    while not _is_prime(candidate, source) or (candidate - 1) % _EXPONENT == 0:
        candidate += 2
    return candidate


def _is_prime(number: int, source: SecretSource) -> bool:
    """Whether a number is a prime, by trial division and the Miller-Rabin test."""
    if any(number % prime == 0 for prime in _SMALL_PRIMES):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    bases = (2 + int.from_bytes(source.token_bytes(32)) for _ in range(_ROUNDS))
    return all(_passes(number, base, odd, twos) for base in bases)


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = pow(power, 2, number)
        if power == number - 1:
            return True
    return False


@lru_cache(maxsize=64)
def public_key(pem: SecretStr) -> rsa.RSAPublicKey | None:
    """The public half of a private key."""
    key = serialization.load_pem_private_key(pem.get_secret_value().encode(), password=None)
    return key.public_key() if isinstance(key, rsa.RSAPrivateKey) else None


def letters(length: int) -> str:
    """Return letters and digits, as in GitHub's tokens."""
    return secret_source().text(length, string.ascii_letters + string.digits)


def issuer_of(token: str, refused: Refused) -> object:
    """Return the issuer in a JSON web token, which is not verified yet.

    Raises:
        Refusal: The token cannot be decoded (401).
    """
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError:
        raise refused(401, UNDECODABLE) from None


def verify(token: str, key: rsa.RSAPublicKey | None, refused: Refused) -> None:
    """Verify the signature and the times of a JSON web token.

    Raises:
        Refusal: One of them is wrong (401).
    """
    now = time.time()
    try:
        claims = jwt.decode(
            token,
            key or "",
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat"]},
        )
    except (jwt.InvalidTokenError, jwt.InvalidKeyError):
        raise refused(401, UNDECODABLE) from None
    if claims["exp"] > now + JWT_SECONDS_MOST:
        raise refused(401, FAR_EXPIRY)
    if claims["exp"] <= now:
        raise refused(401, PAST_EXPIRY)
    if claims["iat"] > now:
        raise refused(401, LATE_ISSUE)
