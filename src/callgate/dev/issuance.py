"""What the development Workload API hands out: the SVIDs and bundles of some workloads, in memory.

Not thread-safe; `now` is Unix seconds, as everywhere.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callgate.dev.authority import DevAuthority
from callgate.errors import GatewayError
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId, TrustDomain
from callgate.identity.workload_api import X509SVID, X509BundlesResponse, X509SVIDResponse

# Certificates count whole seconds, and rotation at half life needs one of them.
MIN_TTL_S = 2.0
# RFC 1123, section 2.1: letters, digits and hyphens; the last label is never all digits, so that this is no address.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)*(?![0-9]+$){_LABEL}")


class DevWorkloadApiError(GatewayError):
    """The development Workload API cannot be set up as asked; the message says what to change."""


@dataclass(slots=True)
class _Workload:
    """One identity and its present SVID."""

    id: SpiffeId
    dns_names: tuple[str, ...]
    chain_der: bytes = b""
    key_der: bytes = b""
    renew_at: float = 0.0


class Issuance:
    """Some workloads, the authorities of their trust domains, and who federates with whom: everybody, at first.

    Workloads go by a short name.  Every SVID is due for renewal at half its life, every authority at half of its own.
    """

    def __init__(
        self,
        workloads: Mapping[str, str],
        dns_names: Mapping[str, Sequence[str]],
        *,
        ttl_s: float,
        authority_lifetime_s: float,
        now: float,
    ) -> None:
        """Raises `DevWorkloadApiError`.  No SVID is issued yet."""
        if not ttl_s >= MIN_TTL_S:
            raise DevWorkloadApiError(f"an SVID has to live for {MIN_TTL_S:g} s at least, and not {ttl_s:g} s")
        self._ttl_s = ttl_s
        self._authority_half_life_s = authority_lifetime_s / 2
        self._workloads = _read_workloads(workloads, dns_names)
        domains = sorted({workload.id.trust_domain for workload in self._workloads.values()}, key=str)
        self._authorities = {
            domain: DevAuthority(domain, now=now, lifetime_s=authority_lifetime_s) for domain in domains
        }
        self._bundle_for_others: dict[TrustDomain, bytes | None] = {}

    @property
    def ids(self) -> dict[str, SpiffeId]:
        """Name to SPIFFE ID."""
        return {name: workload.id for name, workload in self._workloads.items()}

    def authority(self, trust_domain: str) -> DevAuthority:
        """The CA of a trust domain."""
        found = self._authorities.get(TrustDomain(trust_domain))
        if found is None:
            raise DevWorkloadApiError(f"no workload is in the trust domain {trust_domain}")
        return found

    def issue(self, name: str, *, now: float) -> None:
        """Give the workload a new SVID."""
        workload = self._workload(name)
        workload.chain_der, workload.key_der = self._authorities[workload.id.trust_domain].issue(
            workload.id.path, now=now, ttl_s=self._ttl_s, dns_names=workload.dns_names
        )
        workload.renew_at = now + self._ttl_s / 2

    def rotate_authority(self, trust_domain: str, *, now: float) -> None:
        """A new root for the trust domain, beside the old ones, and new SVIDs for its workloads."""
        authority = self.authority(trust_domain)
        authority.rotate(now=now)
        for name, workload in self._workloads.items():
            if workload.id.trust_domain == authority.trust_domain:
                self.issue(name, now=now)

    def replace_bundle_for_others(self, trust_domain: str, bundle: bytes | None) -> None:
        """What all other trust domains are given as this one's bundle; None is none at all."""
        self._bundle_for_others[self.authority(trust_domain).trust_domain] = bundle

    def restore_bundle_for_others(self, trust_domain: str) -> None:
        """The end of `replace_bundle_for_others`."""
        self._bundle_for_others.pop(self.authority(trust_domain).trust_domain, None)

    def renew_due(self, *, now: float) -> None:
        """Renew what is past half of its life."""
        old = [str(each.trust_domain) for each in self._authorities.values() if self._is_old(each, now)]
        for domain in old:
            self.rotate_authority(domain, now=now)
        due = [name for name, workload in self._workloads.items() if workload.renew_at <= now]
        for name in due:
            self.issue(name, now=now)

    def until_due_s(self, *, now: float) -> float:
        """How long until an SVID is due; 0 where one is.  Authorities live longer, and are renewed with an SVID."""
        due = min((workload.renew_at for workload in self._workloads.values()), default=math.inf)
        return max(due - now, 0.0)

    def x509_svid_response(self, name: str) -> X509SVIDResponse:
        """What FetchX509SVID answers."""
        workload = self._workload(name)
        svid = X509SVID(
            spiffe_id=str(workload.id),
            x509_svid=workload.chain_der,
            x509_svid_key=workload.key_der,
            bundle=self._authorities[workload.id.trust_domain].bundle_der,
        )
        return X509SVIDResponse(svids=[svid], federated_bundles=self._foreign_bundles(workload))

    def x509_bundles_response(self, name: str) -> X509BundlesResponse:
        """What FetchX509Bundles answers."""
        workload = self._workload(name)
        own = workload.id.trust_domain
        bundles = {f"spiffe://{own}": self._authorities[own].bundle_der, **self._foreign_bundles(workload)}
        return X509BundlesResponse(bundles=bundles)

    def _workload(self, name: str) -> _Workload:
        if name not in self._workloads:
            raise DevWorkloadApiError(f"there is no workload {name!r}; there are {', '.join(self._workloads)}")
        return self._workloads[name]

    def _is_old(self, authority: DevAuthority, now: float) -> bool:
        return authority.not_after - now < self._authority_half_life_s

    def _foreign_bundles(self, workload: _Workload) -> dict[str, bytes]:
        offered = {
            domain: self._bundle_for_others.get(domain, authority.bundle_der)
            for domain, authority in self._authorities.items()
            if domain != workload.id.trust_domain
        }
        return {f"spiffe://{domain}": bundle for domain, bundle in offered.items() if bundle is not None}


def _read_workloads(workloads: Mapping[str, str], dns_names: Mapping[str, Sequence[str]]) -> dict[str, _Workload]:
    if not workloads:
        raise DevWorkloadApiError("name at least one workload, for instance gate=spiffe://acme.test/gate")
    for name in dns_names:
        if name not in workloads:
            raise DevWorkloadApiError(
                f"DNS names for {name!r}, which is not among the workloads {', '.join(workloads)}"
            )
    return {
        name: _Workload(_read_id(name, spiffe_id), tuple(_read_dns_name(each) for each in dns_names.get(name, ())))
        for name, spiffe_id in workloads.items()
    }


def _read_dns_name(name: str) -> str:
    if not _DNS_NAME.fullmatch(name):
        raise DevWorkloadApiError(f"{name!r} is no DNS name: letters, digits and '-' between dots, and not an address")
    return name


def _read_id(name: str, spiffe_id: str) -> SpiffeId:
    try:
        found = SpiffeId.parse(spiffe_id)
    except InvalidSpiffeId as error:
        raise DevWorkloadApiError(f"workload {name}: {spiffe_id!r} is {error}") from error
    if not found.path:
        raise DevWorkloadApiError(f"workload {name}: {spiffe_id} names a trust domain; add a path, such as /{name}")
    return found
