"""Which topics of a bag or a ROS graph are shown, from their names and types."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flowface_ros.bag.evaluation_input import TRUTH_NAMESPACE, camera_name

FACES = "flowface_ros/msg/FaceArray"
MESHES = "flowface_ros/msg/FaceMesh"
HEAD_MODEL = "flowface_ros/msg/HeadModel"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_IMAGE_NAMES = ("image_raw", "image", "image_color", "image_mono")


@dataclass(frozen=True)
class ViewTopics:
    """What is shown.

    images, infos: camera by topic. faces, meshes, head_model: topics of one tracker, "" for none.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    infos: Mapping[str, str] = field(default_factory=dict)
    faces: str = ""
    meshes: str = ""
    head_model: str = ""

    @property
    def cameras(self) -> list[str]:
        """Names, in the order of the images."""
        return list(self.images.values())

    @property
    def names(self) -> list[str]:
        """All topics; TF is beside them."""
        heads = (self.faces, self.meshes, self.head_model)
        return [*self.infos, *self.images, *filter(None, heads)]


def find_view_topics(
    types: Mapping[str, str], namespace: str | None = None, cameras: Sequence[str] = ()
) -> ViewTopics:
    """The topics to show, of types by topic.

    namespace: of the tracker; None takes the first one that is not the truth of a synthetic
        recording, else the truth. cameras: only these, in this order; none means all.
    A camera has images and a `camera_info` beside them; JPEG images come before raw ones, which
    are larger.
    """
    images = _images(types)
    if cameras:
        images = {name: images[name] for name in cameras if name in images}
    parent = _tracker(types, namespace)
    heads = {
        kind: f"{parent}/{leaf}"
        for kind, leaf in ((FACES, "faces"), (MESHES, "meshes"), (HEAD_MODEL, "head_model"))
        if types.get(f"{parent}/{leaf}") == kind
    }
    return ViewTopics(
        {image: name for name, (image, _) in images.items()},
        {info: name for name, (_, info) in images.items()},
        heads.get(FACES, ""),
        heads.get(MESHES, ""),
        heads.get(HEAD_MODEL, ""),
    )


def missing_topics(
    topics: ViewTopics, namespace: str | None = None, cameras: Collection[str] = ()
) -> str:
    """What was asked for by name and is not there; "" when nothing is missing."""
    absent = [name for name in cameras if name not in topics.cameras]
    if absent:
        return f"no images with a camera_info beside them of camera {', '.join(absent)}"
    if namespace is not None and not topics.faces:
        return f"no FaceArray on {_clean(namespace)}/faces"
    if not topics.images and not topics.faces:
        return "neither a FaceArray nor images with a camera_info beside them"
    return ""


def _images(types: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for topic in sorted(types, key=lambda name: (types[name] != COMPRESSED_IMAGE, name)):
        parent, _, leaf = topic.removesuffix("/compressed").rpartition("/")
        info = f"{parent}/camera_info"
        is_image = types[topic] in (IMAGE, COMPRESSED_IMAGE) and leaf in _IMAGE_NAMES
        if is_image and types.get(info) == CAMERA_INFO:
            found.setdefault(camera_name(topic) or leaf, (topic, info))
    return dict(sorted(found.items()))


def _tracker(types: Mapping[str, str], namespace: str | None) -> str:
    """Namespace of the faces that are shown."""
    if namespace is not None:
        return _clean(namespace)
    parents = [
        topic.removesuffix("/faces")
        for topic, kind in types.items()
        if kind == FACES and topic.endswith("/faces")
    ]
    return min(parents, key=lambda parent: (parent == TRUTH_NAMESPACE, parent), default="")


def _clean(namespace: str) -> str:
    return "/" + namespace.strip("/") if namespace.strip("/") else ""
