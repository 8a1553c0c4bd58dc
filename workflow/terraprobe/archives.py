"""Benchmark archives: where their images lie once they are unpacked, and which classes they know.

Read when a study is parsed, so nothing heavy is imported and no image is listed. Layouts and names: EuroSAT MS as
unpacked, EuroSAT RGB likewise (EuroSAT_RGB.zip of doi 10.5281/zenodo.7711810; the authors' earlier EuroSAT.zip calls
the folder `2750`); BigEarthNet v1 as in torchgeo (ae967c5e, datasets/bigearthnet.py, [C]); BigEarthNet v2 (reBEN, doi
10.5281/zenodo.10891137) as unpacked, with the columns of its `metadata.parquet`. SEN12MS as in its authors' toolbox
(schmitt-muc/SEN12MS 36060c38, classification/dataset.py, [C]), DFC2020 as in its baseline (lukasliebel/dfc2020_baseline
3640faf3, code/datasets.py, [C]). RESISC45 and the lists of splits of both as in torchgeo (067ae1af,
datasets/{resisc45,eurosat}.py, [C]).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from terraprobe.archiveclasses import BIGEARTHNET_CLASSES, EUROSAT_CLASSES, RESISC45_CLASSES
from terraprobe.modalities import LABELS, NO_CODES, LabelLayer

ArchiveName = Literal["eurosat", "eurosat_rgb", "resisc45", "bigearthnet_v1", "bigearthnet_v2", "sen12ms", "dfc2020"]

EUROSAT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
"""Order of the bands in a file of EuroSAT MS, which names none of them: B8A comes last, not after B08."""

CLASS_FOLDERS: Mapping[str, tuple[Mapping[str, str], str]] = MappingProxyType(
    {
        "eurosat": (EUROSAT_CLASSES, ".tif"),
        "eurosat_rgb": (EUROSAT_CLASSES, ".jpg"),
        "resisc45": (RESISC45_CLASSES, ".jpg"),
    }
)
"""Archives that are a folder of files for each class: folder to class, and how the names of files end."""

REGIONS = MappingProxyType(
    {
        "sen12ms": ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter"),
        "dfc2020": ("ROIs0000_validation", "ROIs0000_test"),
    }
)
"""Folders of archives that hold a folder for each scene and sensor ([C], both)."""

DFC2020_SPLITS = MappingProxyType({"ROIs0000_validation": "test", "ROIs0000_test": "train"})
"""Of the contest's own names the papers make use the other way round: they pretrain and train on the 5,128 images of
`test` and test on the 986 of `validation` ([P] sec. Data of `sscl`)."""

IGBP_TO_DFC = (0, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 6, 8, 9, 10)
"""Class of DFC2020 by code of IGBP ([C] code/datasets.py, DFC2020_CLASSES); 0 is none in both."""

MAP_BANDS = MappingProxyType(
    {"sen12ms": ("dfc2020", "LCCS land cover", "LCCS land use", "LCCS surface hydrology"), "dfc2020": ("dfc2020",)}
)
"""Bands of the land cover maps: of SEN12MS the first holds codes of IGBP (Schmitt et al. 2019, sec. 3.3)."""


@dataclass(frozen=True)
class Archive:
    """One benchmark archive.

    Attributes:
        title: for people.
        chip_px: side of its images in pixels of 10 m.
        folders: modality to the names that its folder may have below the archive's, the first that is there.
        label: its classes as a label layer; without pixels. None where it has maps instead.
        obtain: where it comes from.
        looks: how its unpacked folder looks.
        licence: as its authors state it.
        codes: label layer that its maps give, to what each of their codes stands for; nothing where these are the
            layer's own.
        placed: whether its images say where on Earth they are.
    """

    title: str
    chip_px: int
    folders: Mapping[str, tuple[str, ...]]
    label: LabelLayer | None
    obtain: str
    looks: str
    licence: str
    codes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    placed: bool = True

    def layers(self, maps: Sequence[str]) -> list[LabelLayer]:
        """Its classes as label layers: those of its images, or the maps that are asked for."""
        return [self.label] if self.label else [LABELS[name] for name in maps]


def _classes(name: str, unit: str, classes: Mapping[str, str], title: str) -> LabelLayer:
    codes = MappingProxyType(dict(enumerate(classes.values(), 1)))
    return LabelLayer(name, 0, "uint8", unit, codes, (), NO_CODES, MappingProxyType({}), title)


_EUROSAT = _classes("eurosat", "chip_class", EUROSAT_CLASSES, "EuroSAT classes")
_BIGEARTHNET = _classes("bigearthnet", "chip_classes", BIGEARTHNET_CLASSES, "BigEarthNet, 19 CORINE classes")

ARCHIVES: Mapping[str, Archive] = MappingProxyType(
    {
        "eurosat": Archive(
            title="EuroSAT MS",
            chip_px=64,
            folders=MappingProxyType({"s2_l1c": ("",)}),
            label=_EUROSAT,
            obtain="EuroSAT_MS.zip of https://zenodo.org/records/7711810",
            looks="a folder for each class (AnnualCrop, Forest, …, SeaLake) with its files (AnnualCrop_1.tif, …)",
            licence="MIT; contains modified Copernicus Sentinel data",
        ),
        "eurosat_rgb": Archive(
            title="EuroSAT RGB",
            chip_px=64,
            folders=MappingProxyType({"rgb": ("EuroSAT_RGB", "2750", "")}),
            label=_EUROSAT,
            obtain="EuroSAT_RGB.zip of https://zenodo.org/records/7711810",
            looks="a folder for each class (AnnualCrop, Forest, …, SeaLake) with its files (AnnualCrop_1.jpg, …)",
            licence="MIT; contains modified Copernicus Sentinel data",
            placed=False,
        ),
        "resisc45": Archive(
            title="NWPU-RESISC45",
            chip_px=256,
            folders=MappingProxyType({"rgb": ("NWPU-RESISC45", "")}),
            label=_classes("resisc45", "chip_class", RESISC45_CLASSES, "RESISC45 classes"),
            obtain="NWPU-RESISC45.zip of https://huggingface.co/datasets/torchgeo/resisc45",
            looks="a folder for each class (airplane, airport, …, wetland) with its files (airplane_001.jpg, …)",
            licence="none stated by its authors; images of Google Earth, for research",
            placed=False,
        ),
        "bigearthnet_v1": Archive(
            title="BigEarthNet v1",
            chip_px=120,
            folders=MappingProxyType(
                {"s2_l2a": ("BigEarthNet-S2-v1.0", "BigEarthNet-v1.0"), "s1_grd": ("BigEarthNet-S1-v1.0",)}
            ),
            label=_BIGEARTHNET,
            obtain="BigEarthNet-S2-v1.0.tar.gz (for s1_grd also BigEarthNet-S1-v1.0.tar.gz) of https://zenodo.org/records/12687186",
            looks="the folder BigEarthNet-v1.0 (or BigEarthNet-S2-v1.0; for s1_grd also BigEarthNet-S1-v1.0) with a "
            "folder for each image, which holds a file for each band and …_labels_metadata.json",
            licence="CDLA-Permissive-1.0",
        ),
        "bigearthnet_v2": Archive(
            title="BigEarthNet v2",
            chip_px=120,
            folders=MappingProxyType({"s2_l2a": ("BigEarthNet-S2",), "s1_grd": ("BigEarthNet-S1",)}),
            label=_BIGEARTHNET,
            obtain="BigEarthNet-S2.tar.zst and metadata.parquet (for s1_grd also BigEarthNet-S1.tar.zst) of "
            "https://doi.org/10.5281/zenodo.10891137",
            looks="the folder BigEarthNet-S2 (for s1_grd also BigEarthNet-S1) with a folder for each scene and in it "
            "one for each image, and beside it metadata.parquet",
            licence="CDLA-Permissive-1.0",
        ),
        "sen12ms": Archive(
            title="SEN12MS",
            chip_px=256,
            folders=MappingProxyType({"s2_l1c": ("",), "s1_grd": ("",), "dfc2020": ("",)}),
            label=None,
            obtain="ROIs*_s2.tar.gz (for s1_grd also ROIs*_s1.tar.gz, for labels ROIs*_lc.tar.gz) of "
            "https://mediatum.ub.tum.de/1474000 (a licence to accept)",
            looks="a folder for each season (ROIs1158_spring, ROIs1868_summer, ROIs1970_fall, ROIs2017_winter), in "
            "each s2_1, s1_1, lc_1, … and in these ROIs1158_spring_s2_1_p30.tif, …",
            licence="CC BY 4.0; contains modified Copernicus Sentinel data",
            codes=MappingProxyType({"dfc2020": IGBP_TO_DFC}),
        ),
        "dfc2020": Archive(
            title="DFC2020",
            chip_px=256,
            folders=MappingProxyType({"s2_l1c": ("",), "s1_grd": ("",), "dfc2020": ("",)}),
            label=None,
            obtain="the validation and test data of https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-"
            "contest (a login)",
            looks="the folders ROIs0000_validation and ROIs0000_test, in each s2_0, s1_0, dfc_0 (or s2_validation, …) "
            "and in these ROIs0000_test_s2_0_p0.tif, …",
            licence="CC BY 4.0; contains modified Copernicus Sentinel data",
            codes=MappingProxyType({"dfc2020": ()}),
        ),
    }
)
"""Every archive by name."""


def layer_folder(name: str, root: Path, modality: str) -> Path:
    """Where the images of one modality lie.

    Args:
        name: of the archive.
        root: its unpacked folder.
        modality: one of its own.

    Raises:
        ValueError: the folder is absent or holds nothing of the archive; says what to get and how it must look.
    """
    archive = ARCHIVES[name]
    places = [root / folder for folder in archive.folders[modality]]
    found = next((place for place in places if place.is_dir()), None)
    if found is not None and _holds(name, found):
        return found
    state = "is absent" if not root.exists() else "is no folder" if not root.is_dir() else f"holds no {archive.title}"
    raise ValueError(
        f"{root.absolute()} {state}: get {archive.obtain} and unpack it so that this folder holds {archive.looks}"
    )


def _holds(name: str, root: Path) -> bool:
    if name in CLASS_FOLDERS:
        return bool(class_folders(name, root))
    return name not in REGIONS or bool(scene_folders(name, root))


def class_folders(name: str, root: Path) -> list[Path]:
    """Folders of an archive's classes that are there, by name."""
    return [root / own for own in CLASS_FOLDERS[name][0] if (root / own).is_dir()]


def scene_folders(name: str, root: Path) -> list[Path]:
    """Folders of Sentinel-2 of every scene of an archive that has regions, by name."""
    regions = [root / region for region in REGIONS[name] if (root / region).is_dir()]
    return [scene for region in regions for scene in sorted(region.glob("s2_*")) if scene.is_dir()]


def watched(name: str, root: Path, modalities: Sequence[str]) -> list[Path]:
    """Folders and tables whose time stamps change where an image comes or goes: what tells that the index is old."""
    folders = [layer_folder(name, root, modality) for modality in modalities]
    beside = [root / file for file in BESIDE.get(name, ()) if (root / file).is_file()]
    if name in CLASS_FOLDERS:
        return [*class_folders(name, folders[0]), *beside]
    if name in REGIONS:
        return [*scene_folders(name, root), *beside]
    if name == "bigearthnet_v1":  # half a million images stand in one folder, and a study is parsed by every job
        return [*folders, *beside]
    scenes = [scene for folder in folders for scene in sorted(folder.iterdir()) if scene.is_dir()]
    return [*folders, *scenes, *beside]


_EUROSAT_LISTS = ("eurosat-train.txt", "eurosat-val.txt", "eurosat-test.txt")

BESIDE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "eurosat": _EUROSAT_LISTS,
        "eurosat_rgb": _EUROSAT_LISTS,
        "resisc45": ("resisc45-train.txt", "resisc45-val.txt", "resisc45-test.txt"),
        "bigearthnet_v1": ("train.csv", "val.csv", "test.csv"),
        "bigearthnet_v2": ("metadata.parquet",),
        "sen12ms": ("train_list.txt", "val_list.txt", "test_list.txt"),
    }
)
"""What may lie beside the images: of EuroSAT and RESISC45 the splits of Neumann et al. (arXiv 1911.06721), a line a
file, of EuroSAT MS too those of its RGB images; of v1 the splits of
git.tu-berlin.de/rsim/BigEarthNet-MM_19-classes_models, a line an image, its Sentinel-2 name first; of v2 its own table
of classes and splits; of SEN12MS the lists of its toolbox (`splits/`), a line a file of Sentinel-2."""
