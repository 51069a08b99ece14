import re
import string
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.templates import MAX_SCOPE_CHARACTERS, RESERVED_SCOPE_PREFIXES, ScopeTemplate
from callgate.wire.json_strict import JsonObject

CALLER = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/agent")


def call(
    arguments: JsonObject | None = None, *, tool: str | None = "refund", purpose: str = "", user: User | None = None
) -> Call:
    return Call(
        caller=CALLER,
        server="ledger",
        method="tools/call",
        tool=tool,
        arguments=arguments,
        now=0.0,
        purpose=purpose,
        user=user,
    )


def filled(text: str, of: Call) -> str | None:
    return ScopeTemplate.parse(text).fill(of)


@pytest.mark.parametrize("text", ["ledger.read", "a", "!#$%&'()*+,-./:;<=>?@[]^_`|~", "mcp.read", "tools:read"])
def test_scope_without_placeholders_stays_as_it_is(text: str) -> None:
    template = ScopeTemplate.parse(text)

    assert template.fill(call()) == template.text == text
    assert not template.is_template
    assert not template.reads_call


@pytest.mark.parametrize(
    ("text", "scope", "reads_call"),
    [
        ("ledger.{args.account}", "ledger.A-17", True),
        ("ledger:{args.owner.id}:read", "ledger:42:read", True),
        ("ledger/{args.account}/{args.owner.id}", "ledger/A-17/42", True),
        ("ns:{caller.path[1]}", "ns:billing", False),
        ("sa:{caller.path[3]}", "sa:agent", False),
        ("from:{caller.trust_domain}", "from:acme.test", False),
        ("may:{tool.name}", "may:refund", False),
        ("for:{user.subject}", "for:ann", False),
        ("why:{request.purpose}", "why:month-end", True),
        ("ns:{caller.path[1]}:{args.account}", "ns:billing:A-17", True),
    ],
)
def test_placeholders_are_filled_from_the_call(text: str, scope: str, reads_call: bool) -> None:
    template = ScopeTemplate.parse(text)
    asked = call(
        {"account": "A-17", "owner": {"id": 42}}, purpose="month-end", user=User("https://id.acme.test", "ann")
    )

    assert template.fill(asked) == scope
    assert template.is_template
    assert template.reads_call is reads_call
    assert template.text == text


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a:{args.x}", call(None)),
        ("a:{args.x}", call({})),
        ("a:{args.x.y}", call({"x": "z"})),
        ("a:{args.x.y}", call({"x": ["z"]})),
        ("a:{args.x.y}", call({"x": {"z": 1}})),
        ("a:{caller.path[4]}", call()),
        ("a:{tool.name}", call(tool=None)),
        ("a:{user.subject}", call()),
        ("a:{request.purpose}", call()),
        ("a:{args.x}:{args.y}", call({"x": "1"})),
    ],
)
def test_is_not_filled_where_a_value_is_missing(text: str, asked: Call) -> None:
    assert filled(text, asked) is None


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        1.0,
        1.5,
        [],
        ["a"],
        {},
        "",
        " ",
        "a b",
        "a\n",
        "a\x00",
        "read.all",
        "read:all",
        "read/all",
        "read,all",
        "*",
        "{args.x}",
        "é",
        "\uff21",
        "\u0661",
        "a" * 65,
        2**53,
        -(2**53),
        pytest.param(10**5000, id="of 5000 digits"),
    ],
)
def test_is_not_filled_with_what_is_no_word_and_no_whole_number(value: object) -> None:
    assert filled("ledger.{args.x}", call({"x": value})) is None  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("value", "word"),
    [("a" * 64, "a" * 64), (0, "0"), (-5, "-5"), (2**53 - 1, "9007199254740991"), ("A-z_09", "A-z_09"), ("-", "-")],
)
def test_is_filled_with_words_and_whole_numbers(value: str | int, word: str) -> None:
    assert filled("ledger.{args.x}", call({"x": value})) == f"ledger.{word}"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a:{tool.name}", call(tool="admin.list")),
        ("a:{user.subject}", call(user=User("https://id.acme.test", "ann@acme.test"))),
        ("a:{request.purpose}", call(purpose="month end")),
    ],
)
def test_no_value_but_a_trust_domain_may_hold_a_dot_or_a_space(text: str, asked: Call) -> None:
    assert filled(text, asked) is None


def test_is_not_filled_beyond_what_a_scope_may_have() -> None:
    assert filled("a" * 63 + ":{args.x}", call({"x": "b" * 64})) == "a" * 63 + ":" + "b" * 64
    assert filled("a" * 64 + ":{args.x}", call({"x": "b" * 64})) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be one scope: printable ASCII without space"),
        ("a b", "must be one scope: printable ASCII without space"),
        ("a:{args.é}", "must be one scope: printable ASCII without space"),
        ("tool:x", "must not start with 'tool:' or 'mcp:'"),
        ("mcp:{args.x}", "must not start with 'tool:' or 'mcp:'"),
        ("{args.x}", "must begin with text of its own, not with a placeholder"),
        ("{args.x}:a", "must begin with text of its own, not with a placeholder"),
        ("a:{arg.x}", "has the placeholder '{arg.x}', which does not exist; did you mean 'args.x'?"),
        ("a:{args}", "has the placeholder '{args}', which does not exist"),
        ("a:{args.}", "has the placeholder '{args.}', which does not exist"),
        ("a:{args.1}", "has the placeholder '{args.1}', which does not exist"),
        ("a:{args.x[0]}", "has the placeholder '{args.x[0]}', which does not exist"),
        (
            "a:{caller.path}",
            "has the placeholder '{caller.path}', which does not exist; did you mean 'caller.path[0]'?",
        ),
        ("a:{caller.path[-1]}", "has the placeholder '{caller.path[-1]}', which does not exist"),
        ("a:{caller.path[01]}", "has the placeholder '{caller.path[01]}', which does not exist"),
        ("a:{caller.path[100]}", "has the placeholder '{caller.path[100]}', which does not exist"),
        ("a:{caller.id}", "has the placeholder '{caller.id}', which does not exist"),
        ("a:{user.issuer}", "has the placeholder '{user.issuer}', which does not exist"),
        ("a:{tool}", "has the placeholder '{tool}', which does not exist; did you mean 'tool.name'?"),
        ("a:{user.subjct}", "has the placeholder '{user.subjct}', which does not exist; did you mean 'user.subject'?"),
        ("a:{}", "has the placeholder '{}', which does not exist"),
        ("a:{", "has a brace that belongs to no placeholder"),
        ("a:}", "has a brace that belongs to no placeholder"),
        ("a:{args.x", "has a brace that belongs to no placeholder"),
        ("a:{{args.x}}", "has a brace that belongs to no placeholder"),
        ("a{args.x}", "needs a separator such as ':' beside '{args.x}', not 'a', which its value may hold"),
        ("a-{args.x}", "needs a separator such as ':' beside '{args.x}', not '-', which its value may hold"),
        ("a:{args.x}_b", "needs a separator such as ':' beside '{args.x}', not '_', which its value may hold"),
        ("a.{caller.trust_domain}", "needs a separator such as ':' beside '{caller.trust_domain}', not '.', which"),
        ("a:{args.x}{args.y}", "needs a separator such as ':' between two placeholders"),
    ],
)
def test_refuses_what_is_no_template(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        ScopeTemplate.parse(text)


SEPARATORS = ".:/"
PARTS = ["ledger", "read", "tool", "mcp", "a", "{args.x}", "{args.y}", "{tool.name}", "{request.purpose}"]
ANYTHING = st.text(string.printable, max_size=10) | st.sampled_from(["a.b", "read:all", "tool:x", "x y"])


@st.composite
def templates(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5))
    return "".join(part + draw(st.sampled_from(SEPARATORS)) for part in parts)[:-1]


@given(templates(), ANYTHING | st.integers(), ANYTHING, ANYTHING, st.text(string.ascii_letters + "._-", min_size=1))
def test_whatever_the_agent_sends_a_scope_has_the_parts_that_its_author_wrote(
    text: str, x: str | int, y: str, purpose: str, tool: str
) -> None:
    try:
        template = ScopeTemplate.parse(text)
    except ValueError:
        assume(False)
        raise
    scope = template.fill(call({"x": x, "y": y}, purpose=purpose, tool=tool))

    if scope is not None:
        assert not scope.startswith(RESERVED_SCOPE_PREFIXES)
        assert len(scope) <= MAX_SCOPE_CHARACTERS
        wrote = re.split("([.:/])", re.sub(r"\{[^}]*\}", "{}", text))
        got = re.split("([.:/])", scope)
        assert len(got) == len(wrote)
        assert all(ours in ("{}", part) for ours, part in zip(wrote, got, strict=True))


@given(st.text(alphabet="ab:.{}-" + "rgsx", max_size=12).map(lambda text: text.replace("{r", "{args.")))
def test_reading_a_template_raises_nothing_but_value_errors(text: str) -> None:
    with suppress(ValueError):
        assert ScopeTemplate.parse(text).text == text
