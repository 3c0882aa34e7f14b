import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from flowface_ros.bag.images import (
    compressed_image_fields,
    decode_any_image,
    decode_compressed_image,
    decode_image,
    encode_jpeg,
    encode_png,
    image_fields,
)

HEIGHT, WIDTH = 24, 32


def picture() -> np.ndarray:
    """Smooth colours, different in every channel, so that subsampling loses little."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    channels = [40 + 5 * x, 60 + 6 * y, 200 - 3 * x - 2 * y]
    return np.stack(channels, axis=-1).astype(np.uint8)


def message(encoding: str, rows: np.ndarray, padding: int = 0, **fields) -> SimpleNamespace:
    """An Image whose rows (R, ...) are written with bytes of padding behind each."""
    rows = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    values = {
        "height": HEIGHT,
        "width": WIDTH,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": padded.shape[1],
        "data": padded.reshape(-1),
    }
    return SimpleNamespace(**{**values, **fields})


def gray(image: np.ndarray) -> np.ndarray:
    return np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def mosaic(image: np.ndarray, pattern: str) -> np.ndarray:
    """One colour per pixel, as the letters of the pattern fill a 2x2 block row by row."""
    result = np.empty(image.shape[:2], np.uint8)
    for position, letter in enumerate(pattern):
        row, column = divmod(position, 2)
        result[row::2, column::2] = image[row::2, column::2, "rgb".index(letter)]
    return result


def yuv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT.601 with limited range, as cameras send it."""
    red, green, blue = np.moveaxis(image.astype(float), -1, 0)
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    return tuple(np.rint(plane).astype(np.uint8) for plane in (luma, u, v))


def plain_rows(encoding: str) -> np.ndarray:
    image = picture()
    alpha = np.full((HEIGHT, WIDTH, 1), 9, np.uint8)
    bgr = image[..., ::-1]
    return {
        "rgb8": image,
        "bgr8": bgr,
        "8UC3": bgr,
        "rgba8": np.concatenate([image, alpha], axis=2),
        "bgra8": np.concatenate([bgr, alpha], axis=2),
        "8UC4": np.concatenate([bgr, alpha], axis=2),
        "rgb16": image.astype(np.uint16) * 256 + 77,
        "bgr16": bgr.astype(np.uint16) * 256 + 77,
    }[encoding]


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    "encoding", ["rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "8UC4", "rgb16", "bgr16"]
)
def test_colour_encodings_give_the_picture_back_exactly(encoding, padding):
    decoded = decode_image(message(encoding, plain_rows(encoding), padding))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, picture())


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray_fills_three_channels(encoding):
    rows = gray(picture())
    decoded = decode_image(message(encoding, rows, padding=3))
    np.testing.assert_array_equal(decoded, np.repeat(rows[..., None], 3, axis=2))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_gray_of_16_bits_keeps_the_upper_ones(encoding, big_endian):
    rows = gray(picture())
    words = (rows.astype(np.uint16) * 256 + 99).astype(">u2" if big_endian else "<u2")
    decoded = decode_image(message(encoding, words, padding=2, is_bigendian=int(big_endian)))
    np.testing.assert_array_equal(decoded, np.repeat(rows[..., None], 3, axis=2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns(pattern):
    decoded = decode_image(message(f"bayer_{pattern}8", mosaic(picture(), pattern)))
    inner = np.s_[2:-2, 2:-2]
    # Linear ramps survive the bilinear filter but for rounding; a swapped pattern is 100 off.
    assert np.abs(decoded[inner].astype(int) - picture()[inner]).max() <= 6


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv422(encoding, order):
    luma, u, v = yuv(picture())
    packed = np.empty((HEIGHT, WIDTH, 2), np.uint8)
    luma_at = order.index("y")
    packed[..., luma_at] = luma
    packed[:, 0::2, 1 - luma_at] = u[:, 0::2]
    packed[:, 1::2, 1 - luma_at] = v[:, 0::2]
    decoded = decode_image(message(encoding, packed, padding=4))
    assert np.abs(decoded.astype(int) - picture()).max() <= 12


@pytest.mark.parametrize(("encoding", "order"), [("nv12", "uv"), ("nv21", "vu")])
def test_nv12_has_one_and_a_half_times_the_rows(encoding, order):
    luma, u, v = yuv(picture())
    chroma = np.empty((HEIGHT // 2, WIDTH), np.uint8)
    chroma[:, order.index("u") :: 2] = u[::2, ::2]
    chroma[:, order.index("v") :: 2] = v[::2, ::2]
    decoded = decode_image(message(encoding, np.concatenate([luma, chroma]), padding=8))
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(decoded.astype(int) - picture()).max() <= 14


@pytest.mark.parametrize("container", [bytes, lambda data: array.array("B", data), list])
def test_data_may_come_in_any_container(container):
    image = message("bgr8", picture()[..., ::-1])
    image.data = container(image.data.tobytes())
    np.testing.assert_array_equal(decode_any_image(image), picture())


def test_last_row_may_lack_its_padding():
    image = message("rgb8", picture(), padding=10)
    image.data = image.data[:-10]
    np.testing.assert_array_equal(decode_image(image), picture())


def test_step_of_zero_means_rows_without_padding():
    np.testing.assert_array_equal(decode_image(message("rgb8", picture(), step=0)), picture())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"encoding": "yuv999"}, "encoding 'yuv999' is not supported"),
        ({"encoding": "32FC1"}, "encoding '32FC1' is not supported"),
        ({"width": 0}, "image of 0x24 pixels"),
        ({"height": 0}, "image of 32x0 pixels"),
        ({"data": b"123"}, "3 bytes; 32x24 in rgb8 with step 96 needs 2304"),
        ({"data": b""}, "0 bytes"),
        ({"step": 95}, "step is 95 bytes; a row of 32 pixels in rgb8 has 96"),
        ({"encoding": "yuv422", "width": 31}, "image width is 31; yuv422 needs an even one"),
        ({"encoding": "nv12", "height": 23}, "image height is 23; nv12 needs an even one"),
    ],
)
def test_what_is_wrong_with_an_image_is_said(fields, said):
    with pytest.raises(ValueError, match=said):
        decode_image(message(**{"encoding": "rgb8", "rows": picture(), **fields}))


def compressed(data: bytes, kind: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(format=kind, data=np.frombuffer(data, np.uint8))


def test_png_is_lossless():
    np.testing.assert_array_equal(
        decode_any_image(compressed(encode_png(picture()), "png")), picture()
    )


def test_jpeg_is_close_and_quality_matters():
    decoded = decode_compressed_image(compressed(encode_jpeg(picture(), 95)))
    assert np.abs(decoded.astype(int) - picture()).max() <= 12
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(noise, 30)) < len(encode_jpeg(noise, 95))


def test_gray_jpeg_and_png_of_16_bits_give_rgb():
    rows = gray(picture())
    for suffix, pixels in ((".jpg", rows), (".png", rows.astype(np.uint16) * 257)):
        data = cv2.imencode(suffix, pixels)[1].tobytes()
        decoded = decode_compressed_image(compressed(data))
        assert np.abs(decoded.astype(int) - rows[..., None]).max() <= 3


def test_channels_that_image_transport_left_swapped():
    swapped = encode_png(np.ascontiguousarray(picture()[..., ::-1]))
    np.testing.assert_array_equal(
        decode_compressed_image(compressed(swapped, "rgb8; png compressed rgb8")), picture()
    )


def test_exif_rotation_is_ignored():
    jpeg = encode_jpeg(picture(), 95)
    # A TIFF header with one entry: tag 0x0112 (orientation), short, one value: 6 (rotate).
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00" + (
        b"\x00" * 4
    )
    segment = b"Exif\x00\x00" + tiff
    header = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big")
    rotated = jpeg[:2] + header + segment + jpeg[2:]
    assert decode_compressed_image(compressed(rotated)).shape == (HEIGHT, WIDTH, 3)
    assert cv2.imdecode(np.frombuffer(rotated, np.uint8), 1).shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", "jpeg", "neither JPEG nor PNG: 0 bytes"),
        (b"GIF89a...", "gif", "neither JPEG nor PNG"),
        (encode_jpeg(picture())[:-200], "jpeg", "JPEG is cut off"),
        (b"\xff\xd8\xff\xd9", "jpeg", "JPEG of 4 bytes is corrupt"),
        (encode_png(picture())[:40], "png", "PNG of 40 bytes is corrupt"),
        (encode_png(picture()), "16UC1; compressedDepth", "is depth, not a picture"),
    ],
)
def test_what_is_wrong_with_a_compressed_image_is_said(data, kind, said):
    with pytest.raises(ValueError, match=said):
        decode_compressed_image(compressed(data, kind))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_encoded_fields_decode_to_the_picture(encoding):
    fields = image_fields(picture(), encoding)
    assert fields["data"].shape == (fields["step"] * fields["height"],)
    np.testing.assert_array_equal(decode_image(SimpleNamespace(**fields)), picture())


def test_encoded_gray_and_jpeg_fields():
    decoded = decode_image(SimpleNamespace(**image_fields(picture(), "mono8")))
    assert np.abs(decoded[..., 0].astype(int) - gray(picture())).max() <= 1
    decoded = decode_any_image(SimpleNamespace(**compressed_image_fields(picture(), 95)))
    assert np.abs(decoded.astype(int) - picture()).max() <= 12


def test_encoders_refuse_what_is_no_rgb_image():
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), got float32"):
        encode_png(picture().astype(np.float32))
    with pytest.raises(ValueError, match="quality is 101"):
        encode_jpeg(picture(), 101)
    with pytest.raises(ValueError, match="encoding is 'nv12'"):
        image_fields(picture(), "nv12")
