import pytest

from callgate.dev.issuance import DevWorkloadApiError, Issuance
from callgate.identity.workload_api import MessageLimits, Update, read_x509_message

NOW = 1_800_000_000.0
WORKLOADS = {"gate": "spiffe://acme.test/gate", "bot": "spiffe://acme.test/bot", "guest": "spiffe://partner.test/guest"}


def issuance(ttl_s: float = 100.0, authority_lifetime_s: float = 1000.0) -> Issuance:
    fresh = Issuance(WORKLOADS, {}, ttl_s=ttl_s, authority_lifetime_s=authority_lifetime_s, now=NOW)
    for name in WORKLOADS:
        fresh.issue(name, now=NOW)
    return fresh


def leaves(issued: Issuance) -> dict[str, bytes]:
    return {name: issued.x509_svid_response(name).svids[0].x509_svid for name in WORKLOADS}


def roots(issued: Issuance, name: str, trust_domain: str) -> int:
    read = read_x509_message(issued.x509_svid_response(name).SerializeToString(), MessageLimits())
    assert isinstance(read, Update)
    found = {str(domain): bundle for domain, bundle in read.context.bundles.items()}
    return len(found[trust_domain].authorities)


def test_svid_is_due_at_half_of_its_life_and_not_before() -> None:
    issued = issuance()
    before = leaves(issued)
    assert issued.until_due_s(now=NOW + 20) == 30
    issued.renew_due(now=NOW + 49)
    assert leaves(issued) == before
    assert issued.until_due_s(now=NOW + 50) == 0
    issued.renew_due(now=NOW + 50)
    assert all(leaves(issued)[name] != before[name] for name in WORKLOADS)
    assert issued.until_due_s(now=NOW + 50) == 50


def test_each_svid_is_due_by_itself() -> None:
    issued = issuance()
    issued.issue("gate", now=NOW + 40)
    before = leaves(issued)
    issued.renew_due(now=NOW + 60)
    assert {name for name in WORKLOADS if leaves(issued)[name] != before[name]} == {"bot", "guest"}


def test_authority_is_renewed_at_half_of_its_life_and_the_old_root_stays() -> None:
    issued = issuance()
    issued.renew_due(now=NOW + 499)
    assert roots(issued, "gate", "acme.test") == 1
    issued.renew_due(now=NOW + 501)
    assert roots(issued, "gate", "acme.test") == roots(issued, "guest", "acme.test") == 2


def test_new_authority_reissues_the_svids_of_its_trust_domain_alone() -> None:
    issued = issuance()
    before = leaves(issued)
    issued.rotate_authority("acme.test", now=NOW)
    assert {name for name in WORKLOADS if leaves(issued)[name] != before[name]} == {"gate", "bot"}


def test_own_bundle_cannot_be_taken_from_a_workload() -> None:
    issued = issuance()
    issued.replace_bundle_for_others("acme.test", None)
    assert roots(issued, "gate", "acme.test") == 1
    assert "spiffe://acme.test" not in issued.x509_svid_response("guest").federated_bundles


@pytest.mark.parametrize(
    ("workloads", "dns_names", "told"),
    [
        ({}, {}, "at least one workload"),
        ({"gate": "acme.test/gate"}, {}, "workload gate: 'acme.test/gate' is not a SPIFFE ID"),
        ({"gate": "spiffe://acme.test"}, {}, "names a trust domain; add a path, such as /gate"),
        ({"gate": "spiffe://acme.test/gate"}, {"gaet": ["localhost"]}, "DNS names for 'gaet'"),
        ({"gate": "spiffe://acme.test/gate"}, {"gate": ["127.0.0.1"]}, "'127.0.0.1' is no DNS name"),
        ({"gate": "spiffe://acme.test/gate"}, {"gate": ["b\u00fcro.test"]}, "is no DNS name"),
        ({"gate": "spiffe://acme.test/gate"}, {"gate": ["localhost\n"]}, "is no DNS name"),
        ({"gate": "spiffe://acme.test/gate"}, {"gate": [""]}, "is no DNS name"),
    ],
)
def test_says_what_is_wrong_with_a_workload(
    workloads: dict[str, str], dns_names: dict[str, list[str]], told: str
) -> None:
    with pytest.raises(DevWorkloadApiError, match=told):
        Issuance(workloads, dns_names, ttl_s=60, authority_lifetime_s=1000, now=NOW)


@pytest.mark.parametrize("ttl_s", [1.9, 0.0, -1.0, float("nan")])
def test_refuses_a_life_too_short_to_rotate_in(ttl_s: float) -> None:
    with pytest.raises(DevWorkloadApiError, match="2 s at least"):
        Issuance(WORKLOADS, {}, ttl_s=ttl_s, authority_lifetime_s=1000, now=NOW)


def test_says_which_workloads_and_trust_domains_there_are() -> None:
    with pytest.raises(DevWorkloadApiError, match="there are gate, bot, guest"):
        issuance().issue("gaet", now=NOW)
    with pytest.raises(DevWorkloadApiError, match=r"no workload is in the trust domain other\.test"):
        issuance().authority("other.test")
