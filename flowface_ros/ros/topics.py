"""The topics of the nodes: what is created from here is what docs/ros.md has in its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from flowface_ros.msg import FaceAlignmentArray, FaceArray, FaceMesh, HeadModel


@dataclass(frozen=True)
class Topic:
    """A topic's type and quality of service. In names, <camera> stands for a camera's name."""

    name: str
    kind: type
    qos: QoSProfile
    meaning: str

    def of(self, camera: str) -> str:
        """The name for a camera."""
        return self.name.replace("<camera>", camera)


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth)


def _latched(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _unreliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


# Inputs. Callbacks take microseconds; the depth of images covers a burst while another one runs.

IMAGE = Topic(
    "<camera>/image_raw",
    Image,
    _unreliable(5),
    "mono, rgb, bgr, rgba, bgra, bayer, 8 or 16 bits; yuv422 in both orders; nv12, nv21; "
    "`<camera>.reliability` can make it reliable",
)
COMPRESSED = Topic(
    "<camera>/image_raw/compressed",
    CompressedImage,
    _unreliable(5),
    "JPEG, PNG; in the place of the raw image where nobody publishes that, or by "
    "`<camera>.transport`",
)
CAMERA_INFO = Topic(
    "<camera>/camera_info",
    CameraInfo,
    _unreliable(10),
    "`K`, `D`, region of interest and binning of the unrectified image",
)
TRANSFORMS_IN = Topic("/tf", TFMessage, _reliable(100), "where moving cameras are")
STATIC_TRANSFORMS = Topic("/tf_static", TFMessage, _latched(100), "where the others are")
FOLLOWED_FACES = Topic(
    "fitter/faces", FaceArray, _reliable(10), "says where to look next; `faces_topic`"
)

# Outputs.

ALIGNMENTS = Topic(
    "<camera>/alignments",
    FaceAlignmentArray,
    _reliable(10),
    "where the faces' points are, for every image; some 20 KB a face",
)
FACES = Topic(
    "~/faces", FaceArray, _reliable(10), "for every set of images, empty when there is nobody"
)
MESHES = Topic(
    "~/meshes", FaceMesh, _reliable(1), "one per head while somebody subscribes; QoS overridable"
)
HEAD_MODEL = Topic("~/head_model", HeadModel, _latched(1), "triangles, UV and names, once")
MARKERS = Topic(
    "~/markers", MarkerArray, _reliable(2), "for RViz, while somebody subscribes; `marker_rate`"
)
OVERLAY = Topic(
    "~/overlay/<camera>/compressed",
    CompressedImage,
    qos_profile_sensor_data,
    "heads drawn on the image, while somebody subscribes; `overlay_rate`",
)
TRANSFORMS_OUT = Topic("/tf", TFMessage, _reliable(100), "`face_<id>` and `gaze_<id>`")
DIAGNOSTICS = Topic("/diagnostics", DiagnosticArray, _reliable(10), "once a second")

_OF_HEADS = (FACES, MESHES, HEAD_MODEL, MARKERS, TRANSFORMS_OUT)
SUBSCRIBED: dict[str, Sequence[Topic]] = {
    "tracker": (IMAGE, COMPRESSED, CAMERA_INFO, TRANSFORMS_IN, STATIC_TRANSFORMS),
    "aligner": (IMAGE, COMPRESSED, CAMERA_INFO, FOLLOWED_FACES, TRANSFORMS_IN, STATIC_TRANSFORMS),
    "fitter": (ALIGNMENTS, TRANSFORMS_IN, STATIC_TRANSFORMS),
}
"""Inputs by node."""
PUBLISHED: dict[str, Sequence[Topic]] = {
    "tracker": (*_OF_HEADS, OVERLAY, DIAGNOSTICS),
    "aligner": (ALIGNMENTS, DIAGNOSTICS),
    "fitter": (*_OF_HEADS, DIAGNOSTICS),
}
"""Outputs by node."""


def topic_table(topics_of: dict[str, Sequence[Topic]]) -> str:
    """Topics as a Markdown table: name, type, QoS, of which nodes, meaning."""
    nodes: dict[str, list[str]] = {}
    topics: dict[str, Topic] = {}
    for node, used in topics_of.items():
        for topic in used:
            topics.setdefault(topic.name, topic)
            nodes.setdefault(topic.name, []).append(f"`{node}`")
    rows = ["| topic | type | QoS | node | |", "|---|---|---|---|---|"]
    for name, topic in topics.items():
        of = ", ".join(nodes[name])
        kind = topic.kind.__name__
        rows.append(f"| `{name}` | {kind} | {_described(topic.qos)} | {of} | {topic.meaning} |")
    return "\n".join(rows) + "\n"


def _described(qos: QoSProfile) -> str:
    parts = [qos.reliability.name.lower().replace("_", " ")]
    if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        parts.append("transient local")
    return ", ".join([*parts, str(qos.depth)])
