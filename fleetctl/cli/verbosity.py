"""What `-v` and `-vv` tell on stderr: each request and step as it is logged, with secrets taken out."""

import logging
import re

HIDDEN = "[redacted]"
_SECRETS = (
    re.compile(r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic|digest|aws4-hmac-sha256)?\s*)[^\s'\",}]+"),
    re.compile(r"(?i)(\b(?:bearer|token)\s+)[\w.~+/=-]{8,}"),
    re.compile(
        r"(?i)([\w-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|signature|credential)[\w-]*"
        r"['\"]?\s*[:=]\s*b?['\"]?)[^\s'\",&}]+"
    ),
    re.compile(r"(://[^\s:/@]*:)[^\s@/]+(?=@)"),
    re.compile(r"()\b(?:sk|fk|hf|ghp|gho|glpat|xox[abp])[-_][\w-]{8,}"),
    re.compile(r"()\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
"""Each keeps its first group, which says what was there."""


def without_secrets(text: str) -> str:
    """The text, with whatever looks like a password, a key or a token hidden."""
    for secret in _SECRETS:
        text = secret.sub(rf"\g<1>{HIDDEN}", text)
    return text


def begin(verbosity: int) -> None:
    """Log to stderr: 1 what is done, 2 every request as well."""
    lines = logging.StreamHandler()
    lines.setFormatter(_Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbosity == 1 else logging.DEBUG, handlers=[lines], force=True)


class _Redacting(logging.Formatter):
    """The whole line is looked through: traces and arguments hold secrets as well as messages."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
