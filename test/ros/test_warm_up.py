"""Work before the first real one goes through all that is compiled."""

from __future__ import annotations

from typing import Any

import pytest
from ros_world import fake_networks, make_world

from flowface_ros.ros.warm_up import warm_up_views
from flowface_ros.track import texture_memory
from flowface_ros.track.config import TrackerConfig


def test_pictures_are_compared_before_the_first_face(monkeypatch: pytest.MonkeyPatch) -> None:
    compared, align_texture = [], texture_memory.align_texture

    def spy(*arguments: Any) -> Any:
        compared.append(arguments)
        return align_texture(*arguments)

    monkeypatch.setattr(texture_memory, "align_texture", spy)
    world = make_world()
    aligner, _ = fake_networks(world)(None, world.model)
    warm_up_views(world.model, aligner, TrackerConfig())
    assert compared
    compared.clear()
    warm_up_views(world.model, aligner, TrackerConfig(texture_memory=False))
    assert not compared
