from __future__ import annotations

import numba

from flowface_ros.compilation import NOTICE, announced_compilation


def test_said_once_when_something_is_compiled() -> None:
    said: list[str] = []
    one, two = (numba.njit(lambda x, n=n: x + n) for n in range(2))
    with announced_compilation(said.append):
        assert said == []
        assert one(1) == 1 and two(1) == 2
        assert said == [NOTICE]
    with announced_compilation(said.append):
        assert one(1) == 1, "compiled already"
    assert said == [NOTICE]
    numba.njit(lambda x: -x)(1)
    assert said == [NOTICE], "nobody listens any more"


def test_said_to_each_listener_of_its_own_time() -> None:
    first: list[str] = []
    second: list[str] = []
    with announced_compilation(first.append):
        with announced_compilation(second.append):
            numba.njit(lambda x: x * 3)(2)
        numba.njit(lambda x: x * 4)(2)
    assert first == [NOTICE] and second == [NOTICE]
