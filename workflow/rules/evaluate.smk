"""Few-shot probes. Choices are made on validation and frozen in a file before the test split is scored."""


rule measure_floors:
    """Features that cost no training: image statistics, coordinates, climate."""
    input:
        chips=f"{COLLECTION}/chips.parquet",
        stores=lambda w: stores(w.collection),
        context=lambda w: context(w.collection),
    output:
        floors=f"{ROOT}/floors/{{collection}}.parquet",
    log:
        f"{ROOT}/logs/measure_floors/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/measure_floors/{{collection}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        recipe=recipe(),
        code=code("measure-floors"),
    shell:
        "python -m terraprobe measure-floors --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --recipe {params.recipe:q} --code {params.code} --floors {output.floors} 2>&1 | tee -i {log} >&2"


rule select_forest:
    """Choose trees and depth on validation; no test row is read."""
    input:
        embeddings=lambda w: probed(w, "features"),
        chips=lambda w: probed(w, "chips"),
        labels=lambda w: probed(w, "labels"),
    output:
        selection=f"{ROOT}/selection/{{evaluation}}/{{encoder}}.json",
    log:
        f"{ROOT}/logs/select_forest/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/select_forest/{{evaluation}}-{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        recipe=lambda w: recipe(**STUDY.evaluation(w.evaluation).forest_recipe()),
        code=code("select-forest"),
    shell:
        "python -m terraprobe select-forest --embeddings {input.embeddings} --chips {input.chips} --labels {input.labels}"
        " --recipe {params.recipe:q} --code {params.code} --selection {output.selection} 2>&1 | tee -i {log} >&2"


rule score_forest:
    """Score the test split, once, with what validation chose."""
    input:
        embeddings=lambda w: probed(w, "features", test=True),
        chips=lambda w: probed(w, "chips", test=True),
        labels=lambda w: probed(w, "labels", test=True),
        selection=f"{ROOT}/selection/{{evaluation}}/{{encoder}}.json",
        # No score of a collection whose audit stops the run. Ancient: what the audit found changes no score.
        audit=lambda w: ancient(audit_of(w)),
    output:
        scores=f"{ROOT}/scores/{{evaluation}}/{{encoder}}.parquet",
        blocks=f"{ROOT}/scores/{{evaluation}}/{{encoder}}.blocks.parquet",
        optimism=f"{ROOT}/scores/{{evaluation}}/{{encoder}}.optimism.parquet",
    log:
        f"{ROOT}/logs/score_forest/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/score_forest/{{evaluation}}-{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        recipe=lambda w: recipe(**STUDY.evaluation(w.evaluation).forest_recipe()),
        code=code("score-forest"),
    shell:
        "python -m terraprobe score-forest --embeddings {input.embeddings} --chips {input.chips} --labels {input.labels}"
        " --selection {input.selection} --recipe {params.recipe:q} --code {params.code} --scores {output.scores}"
        " --blocks {output.blocks} --optimism {output.optimism} 2>&1 | tee -i {log} >&2"
