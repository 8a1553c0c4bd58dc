"""Raw tiles, each source in its provider's own format."""

for scene in sorted({c.scene for c in STUDY.collections if c.kind == "scene"}):

    rule:
        name:
            f"fetch_{scene}"
        output:
            tiles=[f"{DOWNLOADS}/scenes/{scene}/{f}" for files in packaged.raw_files(scene).values() for f in files],
            manifest=f"{DOWNLOADS}/scenes/{scene}/manifest.json",
        log:
            f"{ROOT}/logs/fetch_scene/{scene}.log",
        benchmark:
            f"{ROOT}/benchmarks/fetch_scene/{scene}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=30,
            network=1,
        params:
            recipe=recipe(scene=scene),
            code=code("fetch-scene"),
        shell:
            "python -m terraprobe fetch-scene --recipe {params.recipe:q} --code {params.code} --tiles {output.tiles}"
            " --manifest {output.manifest} 2>&1 | tee -i {log} >&2"


for source in (s for s in read_sources().values() if s.downloads):

    rule:
        name:
            f"fetch_{source.dataset}"
        output:
            files=[f"{DOWNLOADS}/{source.folder}/{name}" for name in source.files],
            manifest=f"{DOWNLOADS}/{source.folder}/manifest.json",
        log:
            f"{ROOT}/logs/fetch_dataset/{source.dataset}.log",
        benchmark:
            f"{ROOT}/benchmarks/fetch_dataset/{source.dataset}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=240,
            network=1,
        params:
            recipe=recipe(**source.recipe()),
            code=code("fetch-dataset"),
        shell:
            "python -m terraprobe fetch-dataset --recipe {params.recipe:q} --code {params.code} --files {output.files}"
            " --manifest {output.manifest} 2>&1 | tee -i {log} >&2"


for entry in (c for c in STUDY.collections if c.kind == "simulated"):

    rule:
        name:
            f"simulate_world_{entry.name}"
        output:
            climate=f"{ROOT}/collections/{entry.name}/tiles/{world_files()['climate']}",
            regions=f"{ROOT}/collections/{entry.name}/tiles/{world_files()['regions']}",
        log:
            f"{ROOT}/logs/simulate_world/{entry.name}.log",
        benchmark:
            f"{ROOT}/benchmarks/simulate_world/{entry.name}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            recipe=recipe(**entry.world.model_dump(mode="json")),
            code=code("simulate-world"),
        shell:
            "python -m terraprobe simulate-world --recipe {params.recipe:q} --code {params.code}"
            " --climate {output.climate} --regions {output.regions} 2>&1 | tee -i {log} >&2"

    for shard, places in enumerate(entry.places):

        rule:
            name:
                f"simulate_places_{entry.name}_{shard:03d}"
            output:
                tiles=tiles(entry.name, shard=f"{shard:03d}"),
                manifest=manifest(entry.name, f"{shard:03d}"),
            log:
                f"{ROOT}/logs/simulate_places/{entry.name}-{shard:03d}.log",
            benchmark:
                f"{ROOT}/benchmarks/simulate_places/{entry.name}-{shard:03d}.tsv"
            conda:
                ENVIRONMENT
            resources:
                mem_mb=2000,
                runtime=120,
            params:
                recipe=recipe(
                    world=entry.world.model_dump(mode="json"),
                    places=places,
                    layers=[*entry.modalities, *entry.labels],
                ),
                code=code("simulate-places"),
            shell:
                "python -m terraprobe simulate-places --recipe {params.recipe:q} --code {params.code}"
                " --manifest {output.manifest} 2>&1 | tee -i {log} >&2"


rule index_folder:
    """List what the user's own GeoTIFFs of one layer hold; the files themselves stay as and where they are."""
    input:
        tiles=lambda w: tiles(w.collection, w.layer),
    output:
        manifest=f"{COLLECTION}/tiles/{{layer}}.json",
    log:
        f"{ROOT}/logs/index_folder/{{collection}}-{{layer}}.log",
    benchmark:
        f"{ROOT}/benchmarks/index_folder/{{collection}}-{{layer}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        recipe=lambda w: recipe(**NAMES[w.collection].index_recipe(w.layer)),
        code=code("index-folder"),
    shell:
        "python -m terraprobe index-folder --recipe {params.recipe:q} --code {params.code}"
        " --manifest {output.manifest} 2>&1 | tee -i {log} >&2"


for entry in (c for c in STUDY.collections if c.kind == "archive"):

    rule:
        name:
            f"index_archive_{entry.name}"
        input:
            folders=entry.watched,
            exclude=entry.exclude,
        output:
            images=images(entry.name),
            manifests=[manifest(entry.name, shard) for shard in entry.shard_names],
        log:
            f"{ROOT}/logs/index_archive/{entry.name}.log",
        benchmark:
            f"{ROOT}/benchmarks/index_archive/{entry.name}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=8000,
            runtime=240,
        params:
            recipe=recipe(**entry.index_recipe()),
            code=code("index-archive"),
        shell:
            "python -m terraprobe index-archive --exclude {input.exclude:q} --recipe {params.recipe:q}"
            " --code {params.code} --images {output.images} --manifests {output.manifests} 2>&1 | tee -i {log} >&2"
