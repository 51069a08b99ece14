from callgate.limits.table import Table


def table(max_keys: int = 2, max_of_owner: int = 2) -> Table[int]:
    """The state is the moment at which it expires."""
    return Table(int, max_keys, max_of_owner)


def test_a_full_table_has_room_again_when_the_first_state_expires() -> None:
    found = table()
    found.put(("a",), 10)
    found.put(("b",), 20)

    assert found.wait([("c",)], 4) == 6
    assert found.wait([("a",)], 4) == 0
    assert found.wait([("c",)], 10) == 0
    assert ("a",) not in found
    assert found.get(("b",)) == 20


def test_a_state_that_was_used_again_stays_for_longer() -> None:
    found = table()
    found.put(("a",), 10)
    found.put(("b",), 20)
    found.put(("a",), 30)

    assert found.wait([("c",)], 10) == 10
    assert found.wait([("c",)], 20) == 0
    assert found.get(("a",)) == 30
    assert ("b",) not in found


def test_several_keys_need_room_for_all_of_them() -> None:
    found = table(max_keys=3, max_of_owner=3)
    found.put(("a", 1), 10)
    found.put(("a", 2), 20)

    assert found.wait([("a", 2), ("a", 3)], 0) == 0
    assert found.wait([("a", 3), ("a", 4)], 0) == 10
    assert found.wait([("a", 3), ("a", 4)], 10) == 0


def test_one_owner_cannot_use_up_the_room_of_others() -> None:
    found = table(max_keys=10, max_of_owner=2)
    found.put(("a", 1), 10)
    found.put(("a", 2), 20)

    assert found.wait([("a", 3)], 0) == 10
    assert found.wait([("b", 1)], 0) == 0
    assert found.wait([("a", 3)], 10) == 0


def test_memory_stays_bounded_under_ever_new_keys() -> None:
    found = table(max_keys=100, max_of_owner=1)
    for moment in range(10_000):
        if not found.wait([(moment,)], moment):
            found.put((moment,), moment + 50)

    assert len(found) <= 100
    assert len(found._queue) <= 100
    assert len(found._of_owner) <= 100
