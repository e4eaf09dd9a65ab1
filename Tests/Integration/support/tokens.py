"""Tokens minted by hand, so that each part of one can be wrong; keys as PEM and JWK; clients that show tokens."""

import base64
import functools
import hmac
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

# As long as HS512 needs it.
SECRET = "correct-horse-battery-staple-0123456789-correct-horse-battery-staple"
PREFIX = "sidesocket.bearer."
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA"]

# Every token of this run, for `leaks`.
minted = []


@functools.cache
def make_key(alg, which=0):
    """The secret or private key number `which` for an algorithm; always the same in one run."""
    if alg.startswith("HS"):
        return SECRET if which == 0 else f"{SECRET}-{which}"
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg]())
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return _rsa(which)


@functools.cache
def _rsa(which):
    # The families RS and PS share their keys: these are slow to make.
    return rsa.generate_private_key(65537, 2048)


def pem(key):
    """The public half of a private key, or the secret itself: what JWT_KEY takes."""
    if isinstance(key, str):
        return key
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def b64(data):
    """base64url without padding; anything but bytes and text becomes JSON first."""
    if not isinstance(data, bytes | str):
        data = json.dumps(data)
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(alg, key, data):
    """The raw signature over `data`; the key must fit, but for HMAC any text or bytes do."""
    digest = {"256": "sha256", "384": "sha384", "512": "sha512"}.get(alg[-3:], "sha512")
    if alg.startswith("HS"):
        return hmac.new(key.encode() if isinstance(key, str) else key, data, digest).digest()
    if alg == "EdDSA":
        return key.sign(data)
    algorithm = getattr(hashes, digest.upper())()
    if alg.startswith("RS"):
        return key.sign(data, padding.PKCS1v15(), algorithm)
    if alg.startswith("PS"):
        return key.sign(data, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    return raw_ecdsa(key, der_ecdsa(alg, key, data))


def der_ecdsa(alg, key, data):
    """An ECDSA signature as TLS writes it, which JWS does not allow."""
    return key.sign(data, ec.ECDSA(getattr(hashes, f"SHA{alg[-3:]}")()))


def raw_ecdsa(key, der):
    size = (key.curve.key_size + 7) // 8
    return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(der))


def mint(key=SECRET, alg="HS256", *, header=None, payload=None, signer=sign, **claims):
    """A token for alice that lives for five minutes. A claim or header of None is left out.

    `header` adds to the header or replaces its members (also `alg`: it is still signed with the argument `alg`).
    `payload`, text or bytes, takes the place of the claims. `signer` signs instead of `sign`.
    """
    claims = {"sub": "alice", "exp": int(time.time()) + 300, **claims}
    head = {"alg": alg, "typ": "JWT", **(header or {})}
    parts = [{name: value for name, value in part.items() if value is not None} for part in (head, claims)]
    body = f"{b64(parts[0])}.{b64(parts[1] if payload is None else payload)}"
    token = f"{body}.{b64(signer(alg, key, body.encode()))}"
    minted.append(token)
    return token


def unsigned(alg, **claims):
    """A token that says it needs no signature."""
    return mint(header={"alg": alg}, signer=lambda *_: b"", **claims)


def leaks(text, *more):
    """Which payloads and signatures of the tokens of this run, and which of `more`, are in `text`."""
    parts = {part for token in minted for part in token.split(".")[1:] if len(part) > 16}
    return [secret for secret in (*parts, *more) if secret in text]


def jwk(key, kid, **more):
    """The public half of a private key as a member of a JWKS; None leaves a member out."""
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = public.public_numbers()
        found = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        numbers, size = public.public_numbers(), (key.curve.key_size + 7) // 8
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.curve.key_size]
        found = {"kty": "EC", "crv": curve, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}
    else:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        found = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    return {name: value for name, value in {**found, "kid": kid, **more}.items() if value is not None}


def _number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def bearer(token):
    return {"Authorization": f"Bearer {token}"}
