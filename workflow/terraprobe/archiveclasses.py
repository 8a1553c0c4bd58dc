"""Classes of benchmark archives: what their folders and labels call them, and what we do.

EuroSAT [P] sec. 1 Data of `bioclim`; BigEarthNet v1, its 43 and 19 classes as in torchgeo (ae967c5e,
datasets/bigearthnet.py, [C]); RESISC45 as in torchgeo (067ae1af, datasets/resisc45.py, [C]).
"""

from collections.abc import Mapping
from types import MappingProxyType

EUROSAT_CLASSES = MappingProxyType(
    {
        "AnnualCrop": "annual_crop", "Forest": "forest", "HerbaceousVegetation": "herbaceous_vegetation",
        "Highway": "highway", "Industrial": "industrial", "Pasture": "pasture", "PermanentCrop": "permanent_crop",
        "Residential": "residential", "River": "river", "SeaLake": "sea_lake",
    }
)  # fmt: skip
"""Folder to class, [P] sec. 1 Data of `bioclim`: 10 classes."""

BIGEARTHNET_CLASSES = MappingProxyType(
    {
        "Urban fabric": "urban_fabric",
        "Industrial or commercial units": "industrial_or_commercial",
        "Arable land": "arable_land",
        "Permanent crops": "permanent_crops",
        "Pastures": "pastures",
        "Complex cultivation patterns": "complex_cultivation",
        "Land principally occupied by agriculture, with significant areas of natural vegetation": "mixed_agriculture",
        "Agro-forestry areas": "agro_forestry",
        "Broad-leaved forest": "broad_leaved_forest",
        "Coniferous forest": "coniferous_forest",
        "Mixed forest": "mixed_forest",
        "Natural grassland and sparsely vegetated areas": "natural_grassland",
        "Moors, heathland and sclerophyllous vegetation": "moors_and_heathland",
        "Transitional woodland, shrub": "transitional_woodland",
        "Beaches, dunes, sands": "beaches_and_dunes",
        "Inland wetlands": "inland_wetlands",
        "Coastal wetlands": "coastal_wetlands",
        "Inland waters": "inland_waters",
        "Marine waters": "marine_waters",
    }
)
"""The nomenclature of 19 classes to ours, in its own order."""

_FROM_43 = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards", "Fruit trees and berry plantations", "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Natural grassland and sparsely vegetated areas": ("Natural grassland", "Sparsely vegetated areas"),
    "Moors, heathland and sclerophyllous vegetation": ("Moors and heathland", "Sclerophyllous vegetation"),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}  # fmt: skip

_DROPPED = (
    "Road and rail networks and associated land", "Port areas", "Airports", "Mineral extraction sites", "Dump sites",
    "Construction sites", "Green urban areas", "Sport and leisure facilities", "Bare rock", "Burnt areas",
    "Intertidal flats",
)  # fmt: skip
"""Of the 43 classes those that the 19 do without: an image that has no other has no class."""

CORINE_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        **{old: BIGEARTHNET_CLASSES[new] for new, merged in _FROM_43.items() for old in merged},
        **{name: ours for name, ours in BIGEARTHNET_CLASSES.items() if name not in _FROM_43},
        **dict.fromkeys(_DROPPED, ""),
    }
)
"""The 43 classes of BigEarthNet v1 to ours; to nothing where the 19 do without."""

RESISC45_CLASSES = MappingProxyType(
    {
        name: name
        for name in (
            "airplane", "airport", "baseball_diamond", "basketball_court", "beach", "bridge", "chaparral", "church",
            "circular_farmland", "cloud", "commercial_area", "dense_residential", "desert", "forest", "freeway",
            "golf_course", "ground_track_field", "harbor", "industrial_area", "intersection", "island", "lake",
            "meadow", "medium_residential", "mobile_home_park", "mountain", "overpass", "palace", "parking_lot",
            "railway", "railway_station", "rectangular_farmland", "river", "roundabout", "runway", "sea_ice", "ship",
            "snowberg", "sparse_residential", "stadium", "storage_tank", "tennis_court", "terrace",
            "thermal_power_station", "wetland",
        )
    }
)  # fmt: skip
"""Folder to class: 45, which we call as its authors do."""
