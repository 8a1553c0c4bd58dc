"""Places become collections: chip grid, context, splits."""


rule lay_grid:
    """List the chips of a collection, before any pixel is read."""
    input:
        tiles=lambda w: laid_on(w.collection),
    output:
        grid=f"{COLLECTION}/grid.parquet",
    log:
        f"{ROOT}/logs/lay_grid/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/lay_grid/{{collection}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe(area=NAMES[w.collection].grid_area()),
        code=code("lay-grid"),
    shell:
        "python -m terraprobe lay-grid --tiles {input.tiles} --recipe {params.recipe:q} --code {params.code}"
        " --grid {output.grid} 2>&1 | tee -i {log} >&2"


rule extract_context:
    """Climate and region at every chip centre."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
        climate=lambda w: context_files(w.collection)["climate"],
        regions=lambda w: context_files(w.collection)["regions"],
    output:
        context=f"{COLLECTION}/context.parquet",
    log:
        f"{ROOT}/logs/extract_context/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/extract_context/{{collection}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        recipe=recipe(),
        code=code("extract-context"),
    shell:
        "python -m terraprobe extract-context --grid {input.grid} --climate {input.climate:q}"
        " --regions {input.regions:q} --recipe {params.recipe:q} --code {params.code} --context {output.context}"
        " 2>&1 | tee -i {log} >&2"


rule assign_splits:
    """Which chips are for training, which for choosing, which for the one test."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
        context=lambda w: context(w.collection),
        labels=lambda w: (
            f"{ROOT}/collections/{w.collection}/labels.parquet" if NAMES[w.collection].split_needs_labels else []
        ),
        official=lambda w: official(w.collection),
    output:
        chips=f"{COLLECTION}/chips.parquet",
    log:
        f"{ROOT}/logs/assign_splits/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/assign_splits/{{collection}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe(split=NAMES[w.collection].split.model_dump(mode="json")),
        code=code("assign-splits"),
    shell:
        "python -m terraprobe assign-splits --grid {input.grid} --context {input.context} --labels {input.labels}"
        " --official {input.official:q} --recipe {params.recipe:q} --code {params.code} --chips {output.chips} 2>&1"
        " | tee -i {log} >&2"


rule audit_leakage:
    """How near test chips are to train chips; a broken limit stops the run before a test score is made."""
    input:
        chips=f"{COLLECTION}/chips.parquet",
        labels=lambda w: labels_of(w.collection),
        pretraining=lambda w: pretrained_elsewhere(w.collection),
    output:
        leakage=f"{COLLECTION}/leakage.json",
        picture=f"{COLLECTION}/leakage.png",
    log:
        f"{ROOT}/logs/audit_leakage/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/audit_leakage/{{collection}}.tsv"
    # Before training, which is long: a run that must stop should not stop late.
    priority: 10
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=lambda w: recipe(**STUDY.leakage_recipe(w.collection)),
        code=code("audit-leakage"),
    shell:
        "python -m terraprobe audit-leakage --chips {input.chips} --labels {input.labels}"
        " --pretraining {input.pretraining} --recipe {params.recipe:q} --code {params.code} --leakage {output.leakage}"
        " --picture {output.picture} 2>&1 | tee -i {log} >&2"
