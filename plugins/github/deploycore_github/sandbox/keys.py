"""Private keys of made-up apps, the same again for the same seed."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from deploycore.sandbox import SecretSource, secret_source

__all__ = ["new_private_key"]

_EXPONENT = 65537
_PRIME_BYTES = 128
_SMALL_PRIMES = [
    number for number in range(3, 2000, 2) if all(number % other for other in range(3, number, 2))
]
_ROUNDS = 8


def new_private_key() -> SecretStr:
    """A key as GitHub gives it to the owner of an app: RSA, 2048 bits, PEM.

    For a seed it is made of two primes from the sandbox's source of secrets, since libraries take
    no seed.
    """
    source = secret_source()
    key = _of_seed(source) if source.is_seeded else rsa.generate_private_key(_EXPONENT, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return SecretStr(source.noted(pem.decode()))


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
    """A prime whose two highest bits are set, so that two of them make 2048 bits."""
    highest = 0b11 << (8 * _PRIME_BYTES - 2)
    candidate = int.from_bytes(source.token_bytes(_PRIME_BYTES)) | highest | 1
    while not _is_prime(candidate, source) or (candidate - 1) % _EXPONENT == 0:
        candidate += 2
    return candidate


def _is_prime(number: int, source: SecretSource) -> bool:
    """By trial division, then Miller and Rabin's test."""
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
