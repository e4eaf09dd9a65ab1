"""Sidecars that want tokens, each with an app, for the many small cases of a file."""

from support.guard import guard_pair
from support.jwt import HMAC
from support.tokens import make_key, pem

plain = guard_pair(**HMAC, LOG_LEVEL="debug", WEBHOOK_RETRY_FOR="off")
picky = guard_pair(
    **HMAC, JWT_ISSUER="https://issuer.test,other-issuer", JWT_AUDIENCE="api,other-api", JWT_USER_CLAIM="email",
    WEBHOOK_RETRY_FOR="off",
)  # fmt: skip
asymmetric = guard_pair(
    AUTH="required", JWT_KEY=pem(make_key("RS256")), JWT_ALGORITHMS="RS256", WEBHOOK_RETRY_FOR="off"
)
every = guard_pair(
    **HMAC, JWT_SOURCES="cookie:session,query:access_token,subprotocol,authorization", LOG_LEVEL="debug",
    WEBHOOK_RETRY_FOR="off",
)  # fmt: skip
optional = guard_pair(
    **{**HMAC, "AUTH": "optional"}, JWT_FORWARD_CLAIMS="org_id,roles,note,absent", WEBHOOK_RETRY_FOR="off"
)
first = guard_pair(**HMAC, JWT_SOURCES="subprotocol,authorization,message", LOG_LEVEL="debug", WEBHOOK_RETRY_FOR="off")
