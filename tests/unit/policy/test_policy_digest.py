"""The digest of several files is what `sha256sum *.yaml | sha256sum` prints in their folder, wherever that is."""

from hashlib import sha256

from callgate.policy.compile import Policy, load_policies

HEAD = "version: 1\ntrust_domains: [acme.test]\n"
FIRST, SECOND = HEAD + "# first\n", HEAD + "# second\n"


def digest_of(*files: tuple[str, str]) -> str:
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    return policy.digest


def test_digest_does_not_depend_on_the_folder() -> None:
    lines = f"{sha256(FIRST.encode()).hexdigest()}  a.yaml\n{sha256(SECOND.encode()).hexdigest()}  b.yaml\n"
    expected = f"sha256:{sha256(lines.encode()).hexdigest()}"

    assert digest_of(("a.yaml", FIRST), ("b.yaml", SECOND)) == expected
    assert digest_of(("/etc/callgate/policy/b.yaml", SECOND), ("/etc/callgate/policy/a.yaml", FIRST)) == expected
    assert digest_of(("policy/b.yaml", SECOND), ("policy/a.yaml", FIRST)) == expected


def test_digest_of_one_file_is_that_of_its_bytes() -> None:
    assert digest_of(("/etc/callgate/policy.yaml", FIRST)) == f"sha256:{sha256(FIRST.encode()).hexdigest()}"


def test_a_policy_names_the_files_that_it_was_read_from() -> None:
    policy = load_policies([("b.yaml", SECOND), ("a.yaml", FIRST)])

    assert isinstance(policy, Policy)
    assert set(policy.files) == {"a.yaml", "b.yaml"}
