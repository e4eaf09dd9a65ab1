"""Is this event from Sidesocket? Verifies a Standard Webhooks signature; see docs/identity.md."""

import base64
import hashlib
import hmac
import time

TOLERANCE = 300  # seconds


def is_genuine(headers, body, secret):
    """headers: a mapping with the names in lower case; body: bytes; secret: whsec_…, as in WEBHOOK_SECRET."""
    try:
        sent_at = int(headers["webhook-timestamp"])
        signed = f"{headers['webhook-id']}.{sent_at}.".encode() + body
        signatures = headers["webhook-signature"].split()
    except (KeyError, ValueError):
        return False
    if abs(time.time() - sent_at) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(wanted.encode(), given.encode()) for given in signatures)
