"""Rig files of either kind, as the launch files and `rig` take them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flowface_ros.camera.kalibr_yaml import read_kalibr_yaml
from flowface_ros.camera.rig import Rig
from flowface_ros.camera.rig_yaml import read_rig_yaml
from flowface_ros.camera.yaml_fields import load_yaml


def read_any_rig(path: Path) -> Rig:
    """The rig of a rig YAML or of Kalibr's camchain; all cameras have frame names.

    Raises OSError, or ValueError that names file and field.
    """
    rig = read_kalibr_yaml(path) if "cam0" in load_yaml(path).values else read_rig_yaml(path)
    named = [replace(c, frame=c.frame or f"{c.name}_optical_frame") for c in rig]
    return Rig(tuple(named), rig.frame)
