"""The registry of sources, `resources/sources.yaml`: datasets, versions, addresses, licences, what each needs.

Read when a study is parsed, so nothing heavy is imported.
"""

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from terraprobe.errors import TerraprobeError
from terraprobe.stage import Recipe

REGISTRY = Path(__file__).resolve().parents[2] / "resources" / "sources.yaml"


class Expects(Recipe):
    """What a file must be once it is unpacked.

    Attributes:
        crs: as an authority's code.
        width: of a raster, in pixels.
        height: of a raster, in pixels.
        field: that a vector file has.
    """

    crs: str
    width: int | None = None
    height: int | None = None
    field: str = ""


class Download(Recipe):
    """One zip file.

    Attributes:
        urls: its address and mirrors, in the order in which they are tried.
        members: files in it that are kept, by their names without folders.
        into: sub-folder for them.
        expects: what their rasters and vector files are.
        bytes: its size, where known.
        sha256: as hex, where known.
        md5: as hex, where the provider states that alone.
    """

    urls: tuple[str, ...] = Field(min_length=1)
    members: tuple[str, ...] = Field(min_length=1)
    into: str = ""
    expects: Expects
    bytes: int | None = None
    sha256: str = ""
    md5: str = ""


class Source(Recipe):
    """One source of data.

    Attributes:
        dataset: its name here.
        title: for people.
        version: as its provider calls it.
        licence: as its provider states it.
        needs: what a user must have or do.
        used_by: stages and settings that read it.
        home: a page about it.
        size: of what is fetched, roughly, in words.
        folder: where it lies, below `resources/downloads`; empty where it has no place of its own.
        looks: patterns of files that are there once it is; one of them is enough.
        downloads: zip files that make it up.
        tiles: address of one tile, `{tile}` for its name.
    """

    dataset: str
    title: str
    version: str
    licence: str
    needs: str
    used_by: str
    size: str
    home: str = ""
    folder: str = ""
    looks: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    tiles: str = ""

    @property
    def files(self) -> list[str]:
        """What its downloads leave, relative to its folder."""
        return [str(Path(part.into, name)) for part in self.downloads for name in part.members]

    def recipe(self) -> dict[str, Any]:
        """What `fetch_dataset` needs to know."""
        return self.model_dump(mode="json", include={"dataset", "version", "licence", "downloads"})

    def tiles_recipe(self) -> dict[str, Any]:
        """What `fetch_ghs` needs to know, beside the area and where tiles are kept."""
        return self.model_dump(mode="json", include={"dataset", "version", "licence", "tiles"})


@cache
def read_sources(path: Path = REGISTRY) -> dict[str, Source]:
    """Every source by name.

    Raises:
        TerraprobeError: the registry is absent, or an entry does not fit.
    """
    import yaml
    from pydantic import ValidationError

    try:
        found = [Source.model_validate(entry) for entry in yaml.safe_load(path.read_text())]
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as error:
        raise TerraprobeError(f"{path}: cannot be read as the registry of sources ({error}). Restore it.") from error
    return {source.dataset: source for source in found}
