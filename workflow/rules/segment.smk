"""Classes of pixels: heads on the features of frozen or fine-tuned encoders, and floors without any network."""


rule select_segmentation:
    """Choose each probe's learning rate on validation chips; no test pixel's label is read."""
    input:
        chips=lambda w: f"{ROOT}/collections/{segmented(w.evaluation)}/chips.parquet",
        stores=lambda w: towers_read([w.encoder], segmented(w.evaluation)),
        context=lambda w: context_read([w.encoder], segmented(w.evaluation)),
        truth=pixel_labels,
        card=f"{ROOT}/encoders/{{encoder}}/card.json",
        weights=f"{ROOT}/encoders/{{encoder}}/encoder.safetensors",
    output:
        selection=f"{ROOT}/segmentation/{{evaluation}}/{{encoder}}/selection.json",
    log:
        f"{ROOT}/logs/select_segmentation/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/select_segmentation/{{evaluation}}-{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=6000,
        runtime=720,
        gpu=1,
    params:
        recipe=lambda w: recipe(**STUDY.segmentation_recipe(w.evaluation)),
        code=lambda w: code("select-segmentation", METHODS[STUDY.encoder(w.encoder).method]),
    shell:
        "python -m terraprobe select-segmentation --chips {input.chips} --stores {input.stores}"
        " --context {input.context} --truth {input.truth} --card {input.card} --weights {input.weights}"
        " --recipe {params.recipe:q} --code {params.code} --selection {output.selection} 2>&1 | tee -i {log} >&2"


rule segment_chips:
    """Fit each probe with what validation chose and call the pixels of the test chips, once."""
    input:
        chips=lambda w: f"{ROOT}/collections/{segmented(w.evaluation)}/chips.parquet",
        stores=lambda w: towers_read([w.encoder], segmented(w.evaluation)),
        context=lambda w: context_read([w.encoder], segmented(w.evaluation)),
        truth=pixel_labels,
        strata=pixel_strata,
        card=f"{ROOT}/encoders/{{encoder}}/card.json",
        weights=f"{ROOT}/encoders/{{encoder}}/encoder.safetensors",
        selection=f"{ROOT}/segmentation/{{evaluation}}/{{encoder}}/selection.json",
        # No score of a collection whose audit stops the run. Ancient: what the audit found changes no score.
        audit=lambda w: ancient(f"{ROOT}/collections/{segmented(w.evaluation)}/leakage.json"),
    output:
        counts=f"{ROOT}/segmentation/{{evaluation}}/{{encoder}}.parquet",
        maps=f"{ROOT}/segmentation/{{evaluation}}/{{encoder}}.npz",
        model=f"{ROOT}/segmentation/{{evaluation}}/{{encoder}}/model.safetensors",
        card=f"{ROOT}/segmentation/{{evaluation}}/{{encoder}}/card.json",
    log:
        f"{ROOT}/logs/segment_chips/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/segment_chips/{{evaluation}}-{{encoder}}.tsv"
    wildcard_constraints:
        encoder=r"(?!floors\b)[a-z][a-z0-9_]*",  # their table has a rule of its own
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=6000,
        runtime=720,
        gpu=1,
    params:
        recipe=lambda w: recipe(**STUDY.segmentation_recipe(w.evaluation)),
        code=lambda w: code("segment-chips", METHODS[STUDY.encoder(w.encoder).method]),
    shell:
        "python -m terraprobe segment-chips --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --truth {input.truth} --strata {input.strata} --card {input.card} --weights {input.weights}"
        " --selection {input.selection} --recipe {params.recipe:q} --code {params.code} --counts {output.counts}"
        " --maps {output.maps} --model {output.model} --model-card {output.card} 2>&1 | tee -i {log} >&2"


rule segment_floors:
    """Call the pixels of the test chips by their own values, and by the most frequent class."""
    input:
        chips=lambda w: f"{ROOT}/collections/{segmented(w.evaluation)}/chips.parquet",
        stores=lambda w: towers_read(segmenting(w), segmented(w.evaluation)),
        truth=pixel_labels,
        strata=pixel_strata,
        cards=lambda w: [f"{ROOT}/encoders/{e}/card.json" for e in segmenting(w)],
        weights=lambda w: [f"{ROOT}/encoders/{e}/encoder.safetensors" for e in segmenting(w)],
        # No score of a collection whose audit stops the run. Ancient: what the audit found changes no score.
        audit=lambda w: ancient(f"{ROOT}/collections/{segmented(w.evaluation)}/leakage.json"),
    output:
        counts=f"{ROOT}/segmentation/{{evaluation}}/floors.parquet",
    log:
        f"{ROOT}/logs/segment_floors/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/segment_floors/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        recipe=lambda w: recipe(**STUDY.segmentation_recipe(w.evaluation)),
        code=lambda w: code("segment-floors", *sorted({METHODS[STUDY.encoder(e).method] for e in segmenting(w)})),
    shell:
        "python -m terraprobe segment-floors --chips {input.chips} --stores {input.stores} --truth {input.truth}"
        " --strata {input.strata} --cards {input.cards} --weights {input.weights} --recipe {params.recipe:q}"
        " --code {params.code} --counts {output.counts} 2>&1 | tee -i {log} >&2"


rule score_segmentation:
    """All encoders and floors of an evaluation of pixels side by side, on the chips that all of them see."""
    input:
        counts=lambda w: [f"{ROOT}/segmentation/{w.evaluation}/{e}.parquet" for e in [*segmenting(w), "floors"]],
        chips=lambda w: f"{ROOT}/collections/{segmented(w.evaluation)}/chips.parquet",
    output:
        scores=f"{ROOT}/segmentation/{{evaluation}}.parquet",
        classes=f"{ROOT}/segmentation/{{evaluation}}.classes.parquet",
        differences=f"{ROOT}/segmentation/{{evaluation}}.differences.parquet",
        confusion=f"{ROOT}/segmentation/{{evaluation}}.confusion.parquet",
        samples=f"{ROOT}/segmentation/{{evaluation}}.samples.parquet",
    log:
        f"{ROOT}/logs/score_segmentation/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/score_segmentation/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=lambda w: recipe(**STUDY.segmentation_scores_recipe(w.evaluation)),
        code=code("score-segmentation"),
    shell:
        "python -m terraprobe score-segmentation --counts {input.counts} --chips {input.chips}"
        " --recipe {params.recipe:q} --code {params.code} --scores {output.scores} --classes {output.classes}"
        " --differences {output.differences} --confusion {output.confusion} --samples {output.samples} 2>&1"
        " | tee -i {log} >&2"


rule pool_segmentation:
    """Arms over several worlds or areas as one; no chip and no label is read."""
    input:
        samples=pooled_segmentations,
    output:
        pooled=f"{ROOT}/segmentation_pools/{{pool}}.parquet",
    log:
        f"{ROOT}/logs/pool_segmentation/{{pool}}.log",
    benchmark:
        f"{ROOT}/benchmarks/pool_segmentation/{{pool}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe(**segmentation_pool_recipe(STUDY, w.pool)),
        code=code("pool-segmentation"),
    shell:
        "python -m terraprobe pool-segmentation --samples {input.samples} --recipe {params.recipe:q}"
        " --code {params.code} --pooled {output.pooled} 2>&1 | tee -i {log} >&2"
