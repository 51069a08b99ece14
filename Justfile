# The recipes of this repository. `just` itself comes with the development dependencies: `uv run just demo`.

_default:
    @just --list

# Watch one agent make an allowed call and a denied one, on embedded defaults
demo *ARGS:
    @uv run --quiet callgate demo {{ARGS}}

# Every test that needs nothing beyond the package index, and a browser: in two processes (`just test -n 0`: in one), then,
# without arguments, what measures and wants the machine for itself
test *ARGS: browser
    uv run pytest -n 2 --dist loadfile -m "not spire and not go and not quiet" {{ARGS}}
    {{ if ARGS == "" { "uv run pytest -m quiet" } else { "" } }}

# Chromium for the tests of the approvals page: the system's own, or else one that Playwright fetches
browser:
    @which chromium || which chromium-browser || which google-chrome || uv run playwright install chromium

# What other people's programs in Go make of the log: golang.org/x/mod verifies it, age reads what was recorded
test-go *ARGS:
    uv run pytest -m go {{ARGS}}

# Lint, format, types and the borders between packages
check:
    uv run ruff check
    uv run ruff format --check
    uv run mypy
    uv run lint-imports

# Mend what ruff can mend
fix:
    uv run ruff check --fix
    uv run ruff format

# CPU time a call, calls a second, latency, and where the time goes
bench *ARGS:
    uv run python tests/bench/bench.py {{ARGS}}

# How well screening finds what it looks for, by detector, and what each costs; exits 1 where an unambiguous case fails
screen-report *ARGS:
    uv run python tests/bench/screen_report.py {{ARGS}}

# Kill a gate with SIGKILL at random moments, 500 times, and look for answers that are not on record
crash *ARGS:
    uv run python tests/bench/crash.py {{ARGS}}

# `callgate policy diff` over a million recorded decisions: time and memory
bench-diff *ARGS:
    uv run python tests/bench/policy_diff.py {{ARGS}}

# Mutation testing of policy/ and identity/, in a copy of the tree: docs/mutation.md
mutate *ARGS:
    uv run python tests/mutation/run.py {{ARGS}}

# The same story against a real SPIRE server and agent
test-spire *ARGS:
    spire/build
    uv run pytest -m spire {{ARGS}}

# Start a SPIRE server and agent of our own and register the demo's workloads
spire-up:
    spire/up

# Stop them
spire-down:
    spire/down

# Check that the documentation's links, command lines, examples and tables are true
docs:
    uv run python docs/check.py
