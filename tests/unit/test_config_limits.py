import pytest

from callgate.config import BreakerConfig, Config, ServerConfig, load_config
from callgate.limits.admission import ServerLimits
from callgate.limits.breaker import BreakerLimits
from callgate.limits.rates import Rate

START = (
    "listen: 127.0.0.1:8443\nissuer: http://127.0.0.1:8444\npolicy: p.yaml\naudit: {folder: audit}\n"
    "servers:\n  a:\n    url: https://a.test/mcp\n"
)


def limits(lines: str = "") -> ServerLimits:
    config = load_config(START + lines, "c.yaml")
    assert isinstance(config, Config), "\n".join(map(str, config))
    return config.servers["a"].limits()


def problems(lines: str) -> list[str]:
    found = load_config(START + lines, "c.yaml")
    assert not isinstance(found, Config)
    return [str(problem) for problem in found]


def test_reads_the_limits_of_a_server() -> None:
    found = limits("""\
    rate: {calls: 100, per: 1s, burst: 20}
    rate_per_workload: {calls: 600, per: 1m}
    max_concurrent: 32
    breaker: {failures: 3, open: 10s}
""")

    assert found == ServerLimits(
        rate=Rate(100, 1, 20),
        rate_per_workload=Rate(600, 60, 600),
        max_concurrent=32,
        max_concurrent_per_workload=24,
        breaker=BreakerLimits(failures=3, open_s=10),
    )


def test_without_any_there_is_no_rate_but_a_cap_and_a_breaker() -> None:
    assert limits() == ServerLimits(
        rate=None,
        rate_per_workload=None,
        max_concurrent=256,
        max_concurrent_per_workload=192,
        breaker=BreakerLimits(failures=5, open_s=2),
    )


def test_half_a_breaker_has_the_defaults_for_the_rest() -> None:
    assert limits("    breaker: {failures: 2}\n").breaker == BreakerLimits(failures=2, open_s=2)
    assert limits("    breaker: {open: 1m}\n").breaker == BreakerLimits(failures=5, open_s=60)


def test_limits_of_a_server_have_a_reason_for_each_default() -> None:
    fields = {**BreakerConfig.model_fields, "max_concurrent": ServerConfig.model_fields["max_concurrent"]}

    assert all(field.description for field in fields.values())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rate: {per: 1s}", "c.yaml:8:5: key 'calls' is missing in rate"),
        ("rate: {calls: 5}", "c.yaml:8:5: key 'per' is missing in rate"),
        ("rate: {calls: 0, per: 1s}", "c.yaml:8:19: calls must be at least 1"),
        ("rate: {calls: 1000001, per: 1s}", "c.yaml:8:19: calls must be at most 1000000"),
        ("rate: {calls: 5, per: 60}", "c.yaml:8:27: per must be a duration such as '10s', '5m' or '8h'"),
        ("rate: {calls: 5, per: 25h}", "c.yaml:8:27: per must be at most 24h"),
        ("rate: {calls: 5, per: 1s, burst: 0}", "c.yaml:8:38: burst must be at least 1"),
        ("rate_per_workload: {call: 5, calls: 5, per: 1s}", "c.yaml:8:25: unknown key 'call'; did you mean 'calls'?"),
        ("max_concurrent: 0", "c.yaml:8:21: max_concurrent must be at least 1"),
        ("breaker: {failures: 0}", "c.yaml:8:25: failures must be at least 1"),
        ("breaker: {open: 0s}", "c.yaml:8:21: open must be a duration such as '10s', '5m' or '8h'"),
        ("breaker: {open: 2h}", "c.yaml:8:21: open must be at most 3600"),
        ("rate:", "c.yaml:8:10: rate is empty; give it a value or leave it out"),
    ],
)
def test_refuses_limits_that_say_nothing_or_too_much(line: str, told: str) -> None:
    assert problems(f"    {line}\n") == [told]


@pytest.mark.parametrize(
    ("lines", "share"),
    [
        ("    max_concurrent: 1\n", 1),
        ("    max_concurrent: 2\n", 1),
        ("    max_concurrent: 8\n", 6),
        ("    max_concurrent: 8\n    max_concurrent_per_workload: 8\n", 8),
        ("    max_concurrent_per_workload: 2\n", 2),
    ],
)
def test_a_place_is_left_that_one_workload_cannot_take_unless_it_may(lines: str, share: int) -> None:
    assert limits(lines).max_concurrent_per_workload == share
