"""Nothing goes to a tool server on the receipt of another call."""

from typing import Any, cast

import pytest

from callgate.audit.log import _SEAL, ForgedReceipt, Receipt
from callgate.audit.recording import Recording
from callgate.parts import Recorded
from callgate.relay import Relay
from callgate.trace import DecisionTrace

NOTHING = cast(Any, None)


def test_a_receipt_of_another_call_opens_no_exchange() -> None:
    path = DecisionTrace("a" * 32, 1, 2, 3, 4, 5, 0)
    recorded = Recorded(NOTHING, Receipt(_SEAL, 7, "b" * 32), b"{}", Recording("none", 0))
    with pytest.raises(ForgedReceipt, match="another call's"):
        Relay(NOTHING, recorded, NOTHING, NOTHING, path)
