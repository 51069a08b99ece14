"""The part `audit` of callgate.yaml."""

import re
from collections.abc import Sequence

import pytest

from callgate.config import Config, load_config
from callgate.config_audit import MAX_RECIPIENTS, AuditConfig, is_recipient, parse_recipients
from callgate.yaml_strict import Problem

START = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test:8444
policy: p.yaml
servers:
  ledger: {url: https://ledger.acme.test/mcp}
"""
AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOKBhKkJyHNbnKDEULtJjXkcpiiu9OBsSKTg8GVcPrSW ann@acme.test"
# Of the right form, and nobody's.
SECRET = "AGE-SECRET-KEY-1" + "Q" * 58
NOBODY = "needs somebody who can read it: give audit.recipients, such as the age1… that age-keygen prints"


def read(audit: str, start: str = START) -> Config:
    config = load_config(f"{start}audit: {audit}\n", "c.yaml")
    assert isinstance(config, Config), "\n".join(map(str, config))
    return config


def problems(audit: str, start: str = START) -> list[str]:
    found = load_config(f"{start}audit: {audit}\n", "c.yaml")
    assert not isinstance(found, Config)
    return [str(problem) for problem in found]


def words(found: Sequence[str | Problem]) -> list[str]:
    return [str(each) for each in found]


def test_a_configuration_without_the_log_is_told_what_to_add() -> None:
    found = load_config(START, "c.yaml")

    assert isinstance(found, tuple)
    assert words(found) == [
        "c.yaml:1:1: key 'audit' is missing; no call goes out that is not on record; add 'audit: {folder: audit}', and "
        "make its key: callgate audit init"
    ]


def test_what_it_is_told_to_add_is_enough() -> None:
    assert read("{folder: audit}").audit.folder == "audit"


def test_defaults_keep_digests_for_ever_and_content_for_a_quarter() -> None:
    audit = read("{}").audit

    assert audit.model_dump() == {
        "folder": "audit",
        "key": None,
        "origin": "gate.acme.test:8444/audit",
        "record": "digest",
        "recipients": (),
        "checkpoint_to": (),
        "segment_bytes": 64 * 1024**2,
        "segment_age_s": 24 * 3600,
        "keep_content_s": 90 * 24 * 3600,
        "keep_content_bytes": 10 * 1024**3,
        "refusals_per_second": 50,
    }


def test_each_number_has_a_reason() -> None:
    numbers = {name: field for name, field in AuditConfig.model_fields.items() if isinstance(field.default, int)}

    assert len(numbers) == 5
    assert all(field.description for field in numbers.values())


def test_takes_all_that_can_be_said() -> None:
    config = read(
        f"{{folder: /var/lib/callgate, key: /etc/audit.pem, origin: gate-1/audit, record: full, "
        f"recipients: [{AGE}, {SSH}, auditors.txt], checkpoint_to: [/mnt/other/checkpoint, 'https://w.test/c'], "
        "segment_bytes: 1048576, segment_age: 1h, keep_content: 12h, keep_content_bytes: 1048576, "
        "refusals_per_second: 1}"
    )

    assert config.audit.recipients == (AGE, SSH, "auditors.txt")
    assert config.audit.checkpoint_to == ("/mnt/other/checkpoint", "https://w.test/c")
    assert (config.audit.segment_age_s, config.audit.keep_content_s) == (3600, 12 * 3600)
    assert (config.audit.origin, config.audit.key, config.has_auditors) == ("gate-1/audit", "/etc/audit.pem", True)


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("https://gate.acme.test", "gate.acme.test/audit"),
        ("https://gate.acme.test:443", "gate.acme.test/audit"),
        ("http://127.0.0.1:8444", "127.0.0.1:8444/audit"),
        ("http://[::1]:8444", "[::1]:8444/audit"),
    ],
)
def test_the_log_is_called_after_the_issuer(issuer: str, origin: str) -> None:
    assert read("{}", START.replace("https://gate.acme.test:8444", f'"{issuer}"')).audit.origin == origin


def test_an_issuer_too_long_to_call_the_log_after_needs_an_origin() -> None:
    start = START.replace("gate.acme.test", ".".join(["a" * 61] * 4))

    assert problems("{}", start) == [
        "c.yaml:6:8: audit needs an 'origin' of its own: that of the issuer would be too long a name for the log"
    ]
    assert read("{origin: gate/audit}", start).audit.origin == "gate/audit"


@pytest.mark.parametrize("origin", ["gate acme/audit", "gate+acme/audit", '"gate\\u00a0acme"', "ä", "''", "a" * 256])
def test_refuses_an_origin_that_is_no_key_name(origin: str) -> None:
    (found,) = problems(f"{{origin: {origin}}}")

    assert found.startswith("c.yaml:6:")
    assert "origin " in found


@pytest.mark.parametrize(
    ("server", "audit", "level"),
    [
        ("", "{}", "digest"),
        ("", "{record: none}", "none"),
        (", record: none", f"{{record: full, recipients: [{AGE}]}}", "none"),
        (", record: full", f"{{record: none, recipients: [{AGE}]}}", "full"),
        (", record: digest", "{record: none}", "digest"),
    ],
)
def test_a_server_may_say_how_much_of_its_calls_goes_on_record(server: str, audit: str, level: str) -> None:
    start = START.replace("/mcp}", f"/mcp{server}}}")

    assert read(audit, start).record_level("ledger") == level


@pytest.mark.parametrize("recipients", ["", ", recipients: []"])
def test_recording_in_full_for_nobody_is_a_mistake_where_it_stands(recipients: str) -> None:
    start = START.replace("/mcp}", "/mcp, record: full}")

    assert problems(f"{{record: full{recipients}}}", start) == [
        f"c.yaml:5:55: record: full {NOBODY}",
        f"c.yaml:6:17: record: full {NOBODY}",
    ]


def test_recording_in_full_for_nobody_is_told_beside_other_mistakes() -> None:
    assert problems("{record: full, foldr: x}") == [
        f"c.yaml:6:17: record: full {NOBODY}",
        "c.yaml:6:23: unknown key 'foldr'; did you mean 'folder'?",
    ]


@pytest.mark.parametrize(
    ("recipient", "told"),
    [
        (AGE[:-1], "is no X25519 recipient of age"),
        (AGE + "q", "is no X25519 recipient of age"),
        (AGE.replace("q", "b"), "is no X25519 recipient of age"),
        (AGE.upper(), "is no X25519 recipient of age"),
        ("age1yubikey1" + "q" * 58, "is no X25519 recipient of age"),
        ("ssh-ed25519", "is no SSH key that age takes"),
        ("ssh-ed25519 AAAA", "is no SSH key that age takes"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ", "is no SSH key that age takes"),
        ("ecdsa-sha2-nistp256 AAAA", "is no SSH key that age takes"),
        ("''", "must not be empty"),
        ('"a\\nb"', "must be one line of printable characters"),
    ],
)
def test_refuses_what_tries_to_be_a_recipient_and_is_none(recipient: str, told: str) -> None:
    (found,) = problems(f"{{recipients: [{recipient}]}}")

    assert found.startswith(f"c.yaml:6:22: recipients[0] {told}")


@pytest.mark.parametrize("given", [SECRET, SECRET.lower(), "AGE-PLUGIN-YUBIKEY-1QQQ", '"-----BEGIN PRIVATE KEY-----"'])
def test_a_private_key_is_refused_and_never_repeated(given: str) -> None:
    (found,) = problems(f"{{recipients: [{given}]}}")

    assert "holds a private key: the gate must not be able to read what it records; give the public half" in found
    assert "qqq" not in found.lower()
    assert "BEGIN" not in found


@pytest.mark.parametrize(
    "place", ["ftp://w.test/c", "https://w.test/c?a", "https://u@w.test/c", "HTTPS://w.test", "''"]
)
def test_refuses_a_place_for_checkpoints_that_is_neither_path_nor_url(place: str) -> None:
    (found,) = problems(f"{{checkpoint_to: ['{place}']}}".replace("''''", "''"))

    assert found.startswith("c.yaml:6:25: checkpoint_to[0] must")


@pytest.mark.parametrize(
    ("audit", "told"),
    [
        ("{record: some}", "record must be 'none', 'digest' or 'full'"),
        ("{segment_bytes: 1000}", "segment_bytes must be at least 1048576"),
        ("{segment_bytes: 64MiB}", "segment_bytes must be a whole number, not the text '64MiB'"),
        ("{segment_age: 1s}", "segment_age must be at least 60"),
        ("{segment_age: 1d}", "segment_age must be a duration such as '10s', '5m' or '8h'"),
        ("{keep_content: 90}", "keep_content must be a duration such as '12h' or '90d'"),
        ("{keep_content: 30m}", "keep_content must be at least 3600"),
        ("{keep_content: 3661d}", "keep_content must be at most 316224000"),
        ("{keep_content_bytes: 0}", "keep_content_bytes must be at least 1048576"),
        ("{refusals_per_second: 0}", "refusals_per_second must be at least 1"),
        ("{folder: ''}", "folder must not be empty"),
        (f"{{recipients: [{', '.join([AGE] * 33)}]}}", f"recipients has 33 entries; the limit is {MAX_RECIPIENTS}"),
        ("{checkpoint_to: [a, b, c, d, e, f, g, h, i]}", "checkpoint_to has 9 entries; the limit is 8"),
        ("[]", "audit must be a mapping of keys to values, not a list"),
    ],
)
def test_refuses_with_words(audit: str, told: str) -> None:
    (found,) = problems(audit)

    assert re.sub(r"^c\.yaml:6:\d+: ", "", found) == told


def test_reads_a_recipients_file_of_age() -> None:
    assert parse_recipients(f"# the auditors\n\n{AGE}\n  {SSH}  \n", "r.txt") == (AGE, SSH)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# nobody\n", ["r.txt: must hold 1 to 32 recipients; it has 0"]),
        (f"{AGE}\nauditors.txt\n", ["r.txt:2:1: the line is no recipient of age: age1… or ssh-ed25519 …"]),
        (f"{AGE} # ann\n", ["r.txt:1:1: the line is no X25519 recipient of age: age1 and 58 of 0-9 and a-z, without 1, b, i and o"]),
        (f"{AGE}\n" * 33, ["r.txt: must hold 1 to 32 recipients; it has 33"]),
    ],
)  # fmt: skip
def test_refuses_a_file_that_holds_anything_else(text: str, told: list[str]) -> None:
    assert words(parse_recipients(text, "r.txt")) == told


def test_a_private_key_in_a_recipients_file_is_not_repeated_either() -> None:
    (found,) = words(parse_recipients(f"{SECRET}\n", "r.txt"))

    assert found.startswith("r.txt:1:1: the line holds a private key")
    assert "QQQ" not in found


@pytest.mark.parametrize(
    ("text", "is_one"), [(AGE, True), (SSH, True), (SSH.rpartition(" ")[0], True), ("auditors.txt", False)]
)
def test_tells_a_recipient_from_a_path(text: str, is_one: bool) -> None:
    assert is_recipient(text) is is_one
