"""What stands beside the log is looked at before anything is served."""

import time
from pathlib import Path

import pytest

from callgate.audit.age import KeyPair
from callgate.audit.keys import make_key
from callgate.audit.opening import CannotOpenLog
from callgate.errors import leaves
from callgate.parts import Clock
from callgate.record_keeping import RecordKeeping
from support.gate import config_of

START = {"version": "0", "instance": "ab" * 8, "issuer": "https://gate.acme.test", "key": "k", "policy": "p"}


async def test_a_link_in_place_of_the_content_folder_is_told_in_a_sentence_and_nothing_is_served(
    tmp_path: Path,
) -> None:
    recipient = KeyPair.generate().recipient
    config = config_of(
        "http://127.0.0.1:1/mcp",
        endpoint="unix:///nowhere.sock",
        audit=f"folder: audit, record: full, recipients: [{recipient}]",
    )
    make_key(tmp_path / "audit" / "key.pem", config.audit.origin)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "audit" / "content").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ExceptionGroup) as raised:
        await RecordKeeping(config, tmp_path, Clock(time.time_ns), None).run(lambda: START)

    (fault,) = leaves(raised.value)
    assert isinstance(fault, CannotOpenLog)
    assert str(fault).startswith(f"cannot open {tmp_path}/audit/content")
    assert list((tmp_path / "elsewhere").iterdir()) == []
