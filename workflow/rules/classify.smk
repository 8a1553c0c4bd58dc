"""Supervised encoders: what their own heads call each chip, how right that is, and where in a chip they see it."""


rule predict_classes:
    """Call the class of every chip of a collection by the frozen network; no label is read."""
    input:
        chips=f"{COLLECTION}/chips.parquet",
        stores=lambda w: towers_read([w.encoder], w.collection),
        context=lambda w: context_read([w.encoder], w.collection),
        card=f"{ROOT}/encoders/{{encoder}}/card.json",
        weights=f"{ROOT}/encoders/{{encoder}}/encoder.safetensors",
    output:
        predictions=f"{ROOT}/predictions/{{encoder}}/{{collection}}.parquet",
    log:
        f"{ROOT}/logs/predict_classes/{{encoder}}-{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/predict_classes/{{encoder}}-{{collection}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=1,
    params:
        recipe=lambda w: recipe(collection=w.collection),
        code=lambda w: code("predict-classes", METHODS[STUDY.encoder(w.encoder).method]),
    shell:
        "python -m terraprobe predict-classes --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --card {input.card} --weights {input.weights} --recipe {params.recipe:q} --code {params.code}"
        " --predictions {output.predictions} 2>&1 | tee -i {log} >&2"


rule score_classes:
    """Hold the classes of the test chips against what every encoder of an evaluation called them, once."""
    input:
        predictions=predictions,
        chips=lambda w: classified(w, "chips.parquet"),
        labels=lambda w: classified(w, "labels.parquet"),
        # No score of a collection whose audit stops the run. Ancient: what the audit found changes no score.
        audit=lambda w: ancient(classified(w, "leakage.json")),
    output:
        scores=f"{ROOT}/classes/{{evaluation}}.parquet",
        regions=f"{ROOT}/classes/{{evaluation}}.regions.parquet",
        differences=f"{ROOT}/classes/{{evaluation}}.differences.parquet",
        blocks=f"{ROOT}/classes/{{evaluation}}.blocks.parquet",
    log:
        f"{ROOT}/logs/score_classes/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/score_classes/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        recipe=lambda w: recipe(**STUDY.classification_recipe(w.evaluation)),
        code=code("score-classes"),
    shell:
        "python -m terraprobe score-classes --predictions {input.predictions} --chips {input.chips}"
        " --labels {input.labels} --recipe {params.recipe:q} --code {params.code} --scores {output.scores}"
        " --regions {output.regions} --differences {output.differences} --blocks {output.blocks}"
        " 2>&1 | tee -i {log} >&2"


rule pool_classes:
    """Arms over several worlds or areas, compared as one; no label is read."""
    input:
        blocks=pooled_blocks,
    output:
        pooled=f"{ROOT}/class_pools/{{pool}}.parquet",
    log:
        f"{ROOT}/logs/pool_classes/{{pool}}.log",
    benchmark:
        f"{ROOT}/benchmarks/pool_classes/{{pool}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=lambda w: recipe(**STUDY.class_pool_recipe(w.pool)),
        code=code("pool-classes"),
    shell:
        "python -m terraprobe pool-classes --blocks {input.blocks} --recipe {params.recipe:q} --code {params.code}"
        " --pooled {output.pooled} 2>&1 | tee -i {log} >&2"


rule attribute_classes:
    """Where in a few test chips the encoders of an evaluation see a class: pictures alone, which choose nothing."""
    input:
        chips=lambda w: classified(w, "chips.parquet"),
        stores=lambda w: towers_read(heads(w), STUDY.classification(w.evaluation).collection),
        context=lambda w: context_read(heads(w), STUDY.classification(w.evaluation).collection),
        cards=lambda w: [f"{ROOT}/encoders/{e}/card.json" for e in heads(w)],
        weights=lambda w: [f"{ROOT}/encoders/{e}/encoder.safetensors" for e in heads(w)],
        labels=lambda w: classified(w, "labels.parquet"),
        # No test chip of a collection whose audit stops the run. Ancient: what the audit found changes no picture.
        audit=lambda w: ancient(classified(w, "leakage.json")),
    output:
        maps=f"{ROOT}/attributions/{{evaluation}}.npz",
    log:
        f"{ROOT}/logs/attribute_classes/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/attribute_classes/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
    params:
        recipe=lambda w: recipe(**STUDY.attribution_recipe(w.evaluation)),
        code=lambda w: code("attribute-classes", *sorted({METHODS[STUDY.encoder(e).method] for e in heads(w)})),
    shell:
        "python -m terraprobe attribute-classes --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --cards {input.cards} --weights {input.weights} --labels {input.labels} --recipe {params.recipe:q}"
        " --code {params.code} --maps {output.maps} 2>&1 | tee -i {log} >&2"
