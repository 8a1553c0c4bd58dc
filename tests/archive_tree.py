"""What a user of the full-size studies unpacks, faked: names alone, which is all that a study is checked by."""

CLASSES = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
           "Residential", "River", "SeaLake")  # fmt: skip

SEASONS = ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter")
WEIGHTS = ("resnet50_imagenet.pth", "resnet50_byol.pth", "deeplabv3_coco.pth", "seco_resnet50.safetensors")


def fake_downloads(folder, per_class=1):
    """Write the archives that studies ask for and the files of their context below `folder`, all of them empty."""
    home = folder / "resources/downloads"
    for name in CLASSES:
        (home / "EuroSAT_MS" / name).mkdir(parents=True)
        for k in range(1, per_class + 1):
            (home / "EuroSAT_MS" / name / f"{name}_{k}.tif").touch()
    (home / "RESISC45/NWPU-RESISC45/airplane").mkdir(parents=True)
    (home / "RESISC45/NWPU-RESISC45/airplane/airplane_001.jpg").touch()
    files = [f"worldclim/wc2.1_10m_bio/wc2.1_10m_bio_{k}.tif" for k in range(1, 20)]
    files += ["worldclim/wc2.1_10m_elev.tif", "eea/BiogeoRegions2016.shp"]
    files += [f"BigEarthNet/patches_with_{what}.csv" for what in ("seasonal_snow", "cloud_and_shadow")]
    for name in files:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    (home / "BigEarthNet/BigEarthNet-v1.0/S2A_MSIL2A_20170613T101031_0_45").mkdir(parents=True)
    return home


def fake_scenes(folder, patches=2):
    """Write empty images of SEN12MS, DFC2020 and EuroSAT below `folder` as they are laid out, and empty weights."""
    home = fake_downloads(folder)
    scenes = [("SEN12MS", season, number, "lc") for season in SEASONS for number in (1, 2)]
    scenes += [("DFC2020", part, "0", "dfc") for part in ("ROIs0000_validation", "ROIs0000_test")]
    for archive, region, number, labels in scenes:
        for kind in ("s2", "s1", labels):
            own = home / archive / region / f"{kind}_{number}"
            own.mkdir(parents=True)
            for patch in range(patches):
                (own / f"{region}_{kind}_{number}_p{patch}.tif").touch()
    (home / "weights").mkdir()
    for name in WEIGHTS:
        (home / "weights" / name).touch()
    return home
