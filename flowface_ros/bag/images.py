"""Image messages to RGB arrays and back, for messages of rosbags and of rclpy alike.

One path for both, and without cv_bridge: rows may be padded (`step`), data may be bytes, an
array.array or a numpy array.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""

_JPEG_END = b"\xff\xd9"
_FORMATS_OF_FILES = {b"\xff\xd8": "JPEG", b"\x89P": "PNG"}

# Names of ROS's sensor_msgs/image_encodings. Without a colour order (8UC3, 8UC4) OpenCV's is meant.
_CHANNEL_ORDERS: dict[str, tuple[int, int | None]] = {
    "mono": (1, cv2.COLOR_GRAY2RGB),
    "UC1": (1, cv2.COLOR_GRAY2RGB),
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "UC3": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "UC4": (4, cv2.COLOR_BGRA2RGB),
    "bayer_rggb": (1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr": (1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg": (1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg": (1, cv2.COLOR_BayerGRBG2RGB),
}
_PACKED: dict[str, tuple[int, np.dtype, int | None]] = {}
"""Channels, type and cv2 conversion by encoding."""
for _order, (_channels, _conversion) in _CHANNEL_ORDERS.items():
    for _bits, _dtype in ((8, np.dtype(np.uint8)), (16, np.dtype(np.uint16))):
        _name = f"{_bits}{_order}" if _order.startswith("UC") else f"{_order}{_bits}"
        _PACKED[_name] = (_channels, _dtype, _conversion)

_YUV422: dict[str, int] = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
_YUV420: dict[str, int] = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}


def decode_image(message: Any) -> Image:
    """RGB (H, W, 3) uint8 of a sensor_msgs/Image; may share memory with the message.

    16-bit images keep their upper 8 bits. Raises ValueError that says what is wrong: an encoding
    that is not known, no pixels, too few data, a size that the encoding cannot have.
    """
    height, width, encoding = int(message.height), int(message.width), message.encoding
    if height <= 0 or width <= 0:
        raise ValueError(f"image of {width}x{height} pixels has no content")
    if encoding in _PACKED:
        channels, dtype, conversion = _PACKED[encoding]
        rows = _rows(message, height, width * channels * dtype.itemsize)
        return _packed(rows, message.is_bigendian, (height, width, channels), dtype, conversion)
    if encoding in _YUV422:
        _require_even(encoding, width=width)
        rows = _rows(message, height, 2 * width)
        return cv2.cvtColor(rows.reshape(height, width, 2), _YUV422[encoding])
    if encoding in _YUV420:
        _require_even(encoding, width=width, height=height)
        return cv2.cvtColor(_rows(message, height * 3 // 2, width), _YUV420[encoding])
    known = ", ".join((*_PACKED, *_YUV422, *_YUV420))
    raise ValueError(f"image encoding {encoding!r} is not supported; known are {known}")


def decode_compressed_image(message: Any) -> Image:
    """RGB (H, W, 3) uint8 of a sensor_msgs/CompressedImage with JPEG or PNG data.

    An EXIF rotation is ignored: pixels stay where the calibration has them. Raises ValueError for
    data that is empty, cut off, corrupt or of another kind.
    """
    description = message.format
    if "compressedDepth" in description:
        raise ValueError(f"compressed image format {description!r} is depth, not a picture")
    data = _bytes(message.data)
    kind = _FORMATS_OF_FILES.get(data[:2].tobytes())
    if kind is None:
        raise ValueError(
            f"compressed image (format {description!r}) is neither JPEG nor PNG: "
            f"{len(data)} bytes, beginning with {data[:4].tobytes()!r}"
        )
    # libjpeg fills what is missing with grey and only prints a warning.
    if kind == "JPEG" and data.tobytes().rfind(_JPEG_END) < 0:
        raise ValueError(f"compressed image: the JPEG is cut off after {len(data)} bytes")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"compressed image: the {kind} is corrupt: {error.err}") from None
    if image is None:
        raise ValueError(f"compressed image: the {kind} of {len(data)} bytes is corrupt")
    if _stored_as_rgb(description):
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_any_image(message: Any) -> Image:
    """RGB (H, W, 3) uint8 of an Image or a CompressedImage; see the two functions above."""
    compressed = hasattr(message, "format")
    return decode_compressed_image(message) if compressed else decode_image(message)


def jpeg_file(message: Any) -> bytes | None:
    """The JPEG file in a CompressedImage as it is; None when there is none, or red is for blue."""
    data = _bytes(message.data)
    if _FORMATS_OF_FILES.get(data[:2].tobytes()) != "JPEG" or _stored_as_rgb(message.format):
        return None
    return data.tobytes()


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    """JPEG file of an RGB image; quality in [0, 100]."""
    if not 0 <= quality <= 100:
        raise ValueError(f"JPEG quality is {quality}; must be in [0, 100]")
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: Image) -> bytes:
    """PNG file of an RGB image."""
    return _encode(".png", image, [])


_ENCODERS: dict[str, Callable[[Image], NDArray[np.uint8]]] = {
    "rgb8": lambda image: image,
    "bgr8": lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
    "mono8": lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
}


def image_fields(image: Image, encoding: str = "rgb8") -> dict[str, Any]:
    """Fields of a sensor_msgs/Image but the header; data is a flat uint8 array."""
    if encoding not in _ENCODERS:
        raise ValueError(f"encoding is {encoding!r}; allowed are {', '.join(_ENCODERS)}")
    pixels = np.ascontiguousarray(_ENCODERS[encoding](_checked(image)))
    return {
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.strides[0],
        "data": pixels.reshape(-1),
    }


def compressed_image_fields(image: Image, quality: int = 90) -> dict[str, Any]:
    """Fields of a sensor_msgs/CompressedImage with JPEG data but the header."""
    data = np.frombuffer(encode_jpeg(image, quality), np.uint8)
    # As image_transport writes it: the picture was rgb8, the file is an ordinary (BGR) JPEG.
    return {"format": "rgb8; jpeg compressed bgr8", "data": data}


def _bytes(data: Any) -> NDArray[np.uint8]:
    if isinstance(data, list):  # rclpy's constructor keeps a list that it was given
        return np.array(data, np.uint8)
    return np.frombuffer(data, np.uint8)


def _rows(message: Any, rows: int, row_bytes: int) -> NDArray[np.uint8]:
    """(rows, row_bytes) without the padding at the end of each row."""
    data = _bytes(message.data)
    step = int(message.step) or row_bytes
    if step < row_bytes:
        raise ValueError(
            f"image step is {step} bytes; a row of {message.width} pixels in "
            f"{message.encoding} has {row_bytes}"
        )
    needed = step * (rows - 1) + row_bytes
    if len(data) < needed:
        raise ValueError(
            f"image data has {len(data)} bytes; {message.width}x{message.height} in "
            f"{message.encoding} with step {step} needs {needed}"
        )
    return np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (step, 1), writeable=False)


def _packed(
    rows: NDArray[np.uint8],
    big_endian: bool,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    conversion: int | None,
) -> Image:
    pixels: NDArray[Any] = np.ascontiguousarray(rows)
    if dtype.itemsize == 2:
        pixels = pixels.view(dtype)
        if bool(big_endian) != (sys.byteorder == "big"):
            pixels = pixels.byteswap()
        pixels = (pixels >> 8).astype(np.uint8)
    pixels = pixels.reshape(shape)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion)


def _require_even(encoding: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size % 2:
            raise ValueError(f"image {name} is {size}; {encoding} needs an even one")


def _stored_as_rgb(description: str) -> bool:
    """Whether image_transport put RGB where a file has BGR: 'bgr8; jpeg compressed rgb8'."""
    return description.partition("compressed")[2].strip().startswith("rgb")


def _encode(suffix: str, image: Image, options: list[int]) -> bytes:
    _, data = cv2.imencode(suffix, cv2.cvtColor(_checked(image), cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    return image
