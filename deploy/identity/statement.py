"""Who asks, from the statement that the gateway signs for each request.

Needs: pip install "pyjwt[crypto]"
POSTERN_SIGN_IN is the address people sign in at, POSTERN_APP the app's own, as in https://app.example.
With certificates of the gateway's own authority, SSL_CERT_FILE names its root.
"""

import os

import jwt

ISSUER = os.environ["POSTERN_SIGN_IN"].rstrip("/") + "/"
AUDIENCE = os.environ["POSTERN_APP"].rstrip("/") + "/"
KEYS = jwt.PyJWKClient(ISSUER + ".well-known/postern/jwks.json")


def person(statement):
    """Returns the claims (sub, groups, rule), or None for anything that is not the gateway's word to this app."""
    try:
        key = KEYS.get_signing_key_from_jwt(statement)
        return jwt.decode(
            statement,
            key,
            algorithms=["ES256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["iss", "aud", "sub", "iat", "exp"]},
        )
    except jwt.PyJWTError:
        return None
