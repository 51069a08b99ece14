"""Settings whose name says that their value is a secret: `password=…`, `"api_key": "…"`, `<token>…</token>`."""

import re
from math import log2
from typing import Final

from callgate.screening.seeking import Rule, Span
from callgate.screening.views import View

_RANK: Final = 6
_PASSWORDS: Final = "password|passwd|passphrase|passwort|kennwort|contrase.a|mot_?de_?passe|senha|wachtwoord|l.senord|haslo|parola|pwd|passcode"
_KEYS: Final = (
    "secret|token|api[_ -]?key|access[_ -]?key|private[_ -]?key|auth[_ -]?key|account[_ -]?key|shared[_ -]?key|signing[_ -]?key|encryption[_ -]?key|"
    "master[_ -]?key|service[_ -]?key|session[_ -]?key|license[_ -]?key|app[_ -]?key|application[_ -]?key|client[_ -]?key|consumer[_ -]?key|integration[_ -]?key|"
    "subscription[_ -]?key|deploy[_ -]?key|webhook[_ -]?key|write[_ -]?key|admin[_ -]?key|ssh[_ -]?key|aws[_ -]?key|secret[_ -]?key|credentials?|auth|authtoken|"
    "routing[_ -]?key|ingest(?:ion)?[_ -]?key|client-key-data|x-api-key|apitoken|[_-]pat|bearer"
)
_PASSWORD: Final = re.compile(rf"(?i){_PASSWORDS}")
_LONGEST_NAME: Final = 64
_NAME_BEFORE: Final = re.compile(r"[0-9A-Za-z_.-]+\Z")
# An option of a command: its value stands behind a blank.
_FLAG: Final = re.compile(r"(?:^|\s)--?[a-z0-9-]*\Z")
# Of what no harm comes, whatever is in it.
_HARMLESS: Final = re.compile(
    r"(?i)public|publishable|(?:page|next|prev(?:ious)?|cursor|continuation|sync|resume|delta|max|num|total|count|prompt|completion|input|output|stop|eos|bos|pad|unk|mask|special|"
    r"device|push|design|csrf|xsrf|lock|idempotency|trace|color|theme|partition|sort|primary|foreign|cache|object|storage|s3)[_ -]?(?:token|key)"
)
# Nothing is said: variables, templates, what is already masked, words that stand for a value.
_PLACEHOLDER: Final = re.compile(
    r"(?i)\$|%[a-z_({]|\{\{|<|\*{3}|\[?redacted|x{4}|\.{3}|•|…|none\b|null\b|nil\b|true\b|false\b|undefined|your|my[_-]?(?:secret|token|password|api|key)|"
    r"change[_ -]?me|placeholder|example|dummy|todo|tbd|replace|insert|enter|some|test(?![a-z0-9])|secret$|password$|token$|string\b|str\b|bytes\b|object\b|"
    r"process\.env|os\.|env[.\[(]|getenv|config|settings|self\.|this\.|vault:|arn:|ref\+|secretref|valuefrom|file:|/|\./|~|https?:|[0-9.]+\Z|sha(?:256|512)[:-]|[a-z_.]+\(|\(|\[|\{|#|!"
)
_LEAST_PASSWORD: Final = 6
_LEAST_KEY: Final = 16
# Bits a character; hexadecimal digits at random have nearly four, English words below three and a half.
_LEAST_ENTROPY: Final = 3.0


def is_placeholder(value: str) -> bool:
    """Whether it stands for a value that is elsewhere, or that is already gone."""
    return not value or bool(_PLACEHOLDER.match(value)) or len(set(value)) < 4


def entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    counts = (value.count(character) / len(value) for character in set(value))
    return -sum(share * log2(share) for share in counts)


def _assignment(view: View, start: int, end: int) -> Span | None:
    """The value, if the name is a secret's and the value could be one."""
    said = _SAID.match(view.text, start, end)
    if said is None or (said["flag"] and not _FLAG.search(view.before(start, _LONGEST_NAME))):
        return None
    name = _NAME_BEFORE.search(view.before(start, _LONGEST_NAME))
    if _HARMLESS.search((name[0] if name else "") + said["name"]):
        return None
    value = said["value"].rstrip(".,;)")
    if is_placeholder(value.lstrip("+")):
        return None
    is_secret = _could_be_password(value) if _PASSWORD.match(said["name"]) else _could_be_key(value)
    return (said.start("value"), said.start("value") + len(value)) if is_secret else None


def _kinds(value: str) -> int:
    tests = (str.isdigit, str.islower, str.isupper)
    return sum(any(map(test, value)) for test in tests) + any(not character.isalnum() for character in value)


# Words of letters, as programs and people join them.
_NAMES: Final = re.compile(r"(?:[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]{2,}|[_.])+")


def _could_be_password(value: str) -> bool:
    """Digits, signs or odd capitals beside letters."""
    return (
        len(value) >= _LEAST_PASSWORD
        and _kinds(value) >= 2
        and not _is_expression(value)
        and not _NAMES.fullmatch(value)
    )


_WORDY: Final = re.compile(r"[A-Za-z]*[0-9]{0,4}(?:[-_./:][A-Za-z]*[0-9]{0,4})*")


def _could_be_key(value: str) -> bool:
    if len(value) < _LEAST_KEY or _is_expression(value) or not re.search("[0-9]", value):
        return False
    return not _WORDY.fullmatch(value) and re.search("[A-Za-z]", value) is not None and entropy(value) >= _LEAST_ENTROPY


def _is_expression(value: str) -> bool:
    """`Optional[str]`, `read_token(1)`."""
    return bool(re.match(r"[A-Za-z_][A-Za-z0-9_.]*[(\[]", value))


_SAID_TEXT: Final = (
    r"""(?i)(?P<name>(?:NAMES)(?:s|[_-]?(?:key|value|hash|live|prod|test|dev|staging|b64|base64|[0-9]{1,2}|string|text|token|secret)){0,3})"""
    r"""(?:(?:\\{0,7}["'\]]){0,2}(?:[ \t]{0,8}(?::=|=>|==?|:)[ \t]{0,8}| is |>)|(?P<flag> ))(?:\\{0,7}["'`]|b["'])?(?P<value>[^\s"'`<>,;&|\\]{6,})"""
).replace("NAMES", f"{_PASSWORDS}|{_KEYS}")
_SAID: Final = re.compile(_SAID_TEXT)
RULES: Final = (Rule("secret", re.sub(r"\?P<[a-z]+>", "?:", _SAID_TEXT), _assignment, _RANK),)
