"""Redact secrets from text. All notifications pass through here."""

import os
import re

HIDDEN = "***"
SHORTEST = 6  # characters; shorter secrets are not searched by value, because they match ordinary words

# Names of environment variables with secret values.
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|ACCESS_KEY|AUTH_STRING|CONNECTION_URL|CREDENTIAL|NOTIFY_URL")

# Everything before "@" in a URL, because "/", "?" and "#" in passwords are often not escaped.
USER_OF_URL = re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*://)[^\s\"'<>]*(?=@)", re.IGNORECASE)
NAMED = re.compile(
    r"(?P<keep>[\w-]*(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|credential|signature|session[_-]?id)s?"
    r"[\"']?\s*(?:=|:|%3d)\s*)(?:\"[^\"]*\"|'[^']*'|[^\s&,;\"'}\])]+)",
    re.IGNORECASE,
)
HEADER = re.compile(r"(?P<keep>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+", re.IGNORECASE)
SCHEME = re.compile(r"(?P<keep>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
KNOWN = re.compile(
    r"""(?P<keep>\bhttps://hooks\.slack\.com/services/|\bhttps://discord(?:app)?\.com/api/webhooks/)[^\s"'<>]+
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*      # JSON web tokens
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \b(?:gh[pousr]|github_pat|glpat|xox[abeoprs]|xapp|pnu|pnb|hf|sk|pk|rk)[_-][A-Za-z0-9_-]{10,}
    """,
    re.VERBOSE | re.DOTALL,
)
PATTERNS = (KNOWN, USER_OF_URL, HEADER, SCHEME, NAMED)


def redact(text: str) -> str:
    """Replace anything that looks like a secret, and the values of secret environment variables, with `***`."""
    values = [value for name, value in os.environ.items() if SECRET_NAME.search(name.upper())]
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    for pattern in PATTERNS:
        text = pattern.sub(lambda found: f"{found.groupdict().get('keep') or ''}{HIDDEN}", text)
    return text
