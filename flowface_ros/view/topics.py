"""Which topics of a bag or a ROS graph are shown, from their names and types."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flowface_ros.bag.camera_topics import camera_sources
from flowface_ros.bag.evaluation_input import TRUTH_NAMESPACE

FACES = "flowface_ros/msg/FaceArray"
MESHES = "flowface_ros/msg/FaceMesh"
HEAD_MODEL = "flowface_ros/msg/HeadModel"


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
    Of a camera's images the compressed ones are taken, for raw ones are larger.
    """
    found = {source.name: source for source in camera_sources(types, compressed_first=True)}
    shown = [found[name] for name in cameras or sorted(found) if name in found]
    parent = _tracker(types, namespace)
    heads = {
        kind: f"{parent}/{leaf}"
        for kind, leaf in ((FACES, "faces"), (MESHES, "meshes"), (HEAD_MODEL, "head_model"))
        if types.get(f"{parent}/{leaf}") == kind
    }
    return ViewTopics(
        {source.image_topic: source.name for source in shown},
        {source.info_topic: source.name for source in shown},
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
