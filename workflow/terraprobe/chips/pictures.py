"""Pictures of 8 bits a band, such as JPEG: decoded by Pillow, as those do whose numbers ours stand beside.

GDAL gives other values where colours are subsampled: by up to 8 of 255 in the generated pictures of the tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from PIL.Image import Image


def picture_shape(path: Path) -> tuple[int, int, int]:
    """Rows, columns and bands of a picture, by its header.

    Raises:
        TerraprobeError: the file is absent or no picture.
    """
    with _open(path) as image:
        return image.height, image.width, len(image.getbands())


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Pixels of a picture, (band, y, x).

    Raises:
        TerraprobeError: the file is absent, no picture, or cut short.
    """
    with _open(path) as image:
        pixels: NDArray[np.uint8] = np.atleast_3d(np.asarray(image))
    return np.moveaxis(pixels, -1, 0)


@contextmanager
def _open(path: Path) -> Iterator["Image"]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        state = "it is truncated, or another kind of file" if path.exists() else "it is absent"
        raise TerraprobeError(
            f"{path}: cannot be read as a picture: {state}. Unpack the archive again, or take the image out."
        ) from error
