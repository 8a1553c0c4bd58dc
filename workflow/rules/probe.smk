"""MLPs on frozen embeddings, band by band. Choices are made on validation and frozen before a test chip is seen."""


rule fit_mlp:
    """Learn the classes of train chips from every view of them, by one encoder and its twins or by image statistics."""
    input:
        chips=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/chips.parquet",
        stores=lambda w: towers_read(mlp_encoders(w), probed_by_mlp(w)),
        context=lambda w: context_read(mlp_encoders(w), probed_by_mlp(w)),
        cards=lambda w: [f"{ROOT}/encoders/{e}/card.json" for e in mlp_encoders(w)],
        weights=lambda w: mlp_weights(w),
        floors=lambda w: mlp_floors(w),
        labels=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/labels.parquet",
    output:
        heads=f"{ROOT}/mlp/{{evaluation}}/{{encoder}}.heads.npz",
        selection=f"{ROOT}/mlp/{{evaluation}}/{{encoder}}.json",
    log:
        f"{ROOT}/logs/fit_mlp/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/fit_mlp/{{evaluation}}-{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=1,
    params:
        recipe=lambda w: recipe(**mlp_recipe(STUDY, w.evaluation)),
        code=lambda w: code("fit-mlp", *mlp_methods(w)),
    shell:
        "python -m terraprobe fit-mlp --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --cards {input.cards} --weights {input.weights} --floors {input.floors} --labels {input.labels}"
        " --recipe {params.recipe:q} --code {params.code} --heads {output.heads} --selection {output.selection} 2>&1"
        " | tee -i {log} >&2"


rule call_mlp:
    """Show the test chips to what was learnt; no label is read."""
    input:
        chips=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/chips.parquet",
        stores=lambda w: towers_read(mlp_encoders(w), probed_by_mlp(w)),
        context=lambda w: context_read(mlp_encoders(w), probed_by_mlp(w)),
        cards=lambda w: [f"{ROOT}/encoders/{e}/card.json" for e in mlp_encoders(w)],
        weights=lambda w: mlp_weights(w),
        floors=lambda w: mlp_floors(w),
        heads=f"{ROOT}/mlp/{{evaluation}}/{{encoder}}.heads.npz",
        selection=f"{ROOT}/mlp/{{evaluation}}/{{encoder}}.json",
        # No test chip of a collection whose audit stops the run. Ancient: what the audit found changes no score.
        audit=lambda w: ancient(f"{ROOT}/collections/{probed_by_mlp(w)}/leakage.json"),
    output:
        called=f"{ROOT}/mlp/{{evaluation}}/{{encoder}}.called.npz",
    log:
        f"{ROOT}/logs/call_mlp/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/call_mlp/{{evaluation}}-{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=1,
    params:
        recipe=lambda w: recipe(**mlp_recipe(STUDY, w.evaluation)),
        code=lambda w: code("call-mlp", *mlp_methods(w)),
    shell:
        "python -m terraprobe call-mlp --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --cards {input.cards} --weights {input.weights} --floors {input.floors} --heads {input.heads}"
        " --selection {input.selection} --recipe {params.recipe:q} --code {params.code} --called {output.called} 2>&1"
        " | tee -i {log} >&2"


rule score_mlp:
    """Hold what all encoders of an evaluation called the test chips against their classes, once."""
    input:
        called=lambda w: mlp_parts(w, "called.npz"),
        selections=lambda w: mlp_parts(w, "json"),
        chips=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/chips.parquet",
        labels=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/labels.parquet",
    output:
        scores=f"{ROOT}/mlp/{{evaluation}}.parquet",
        differences=f"{ROOT}/mlp/{{evaluation}}.differences.parquet",
        samples=f"{ROOT}/mlp/{{evaluation}}.samples.parquet",
        curves=f"{ROOT}/mlp/{{evaluation}}.roc.parquet",
    log:
        f"{ROOT}/logs/score_mlp/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/score_mlp/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        recipe=lambda w: recipe(**mlp_scores_recipe(STUDY, w.evaluation)),
        code=code("score-mlp"),
    shell:
        "python -m terraprobe score-mlp --called {input.called} --selections {input.selections} --chips {input.chips}"
        " --labels {input.labels} --recipe {params.recipe:q} --code {params.code} --scores {output.scores}"
        " --differences {output.differences} --samples {output.samples} --curves {output.curves} 2>&1"
        " | tee -i {log} >&2"


rule pool_mlp:
    """Arms over several worlds or areas as one; no chip and no label is read."""
    input:
        samples=pooled_mlps,
    output:
        pooled=f"{ROOT}/mlp_pools/{{pool}}.parquet",
    log:
        f"{ROOT}/logs/pool_mlp/{{pool}}.log",
    benchmark:
        f"{ROOT}/benchmarks/pool_mlp/{{pool}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=lambda w: recipe(**mlp_pool_recipe(STUDY, w.pool)),
        code=code("pool-mlp"),
    shell:
        "python -m terraprobe pool-mlp --samples {input.samples} --recipe {params.recipe:q} --code {params.code}"
        " --pooled {output.pooled} 2>&1 | tee -i {log} >&2"


rule attribute_bands:
    """Where in a few test chips encoders see a class, band by band: pictures alone, which choose nothing."""
    input:
        chips=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/chips.parquet",
        stores=lambda w: towers_read(attributed_by(STUDY, w.evaluation), probed_by_mlp(w)),
        context=lambda w: context_read(attributed_by(STUDY, w.evaluation), probed_by_mlp(w)),
        cards=lambda w: encoder_files(attributed_by(STUDY, w.evaluation), "card.json"),
        weights=lambda w: encoder_files(attributed_by(STUDY, w.evaluation), "encoder.safetensors"),
        heads=lambda w: attributed_heads(w, "heads.npz"),
        selections=lambda w: attributed_heads(w, "json"),
        labels=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/labels.parquet",
        # No test chip of a collection whose audit stops the run. Ancient: what the audit found changes no picture.
        audit=lambda w: ancient(f"{ROOT}/collections/{probed_by_mlp(w)}/leakage.json"),
    output:
        maps=f"{ROOT}/mlp/{{evaluation}}.attributions.npz",
    log:
        f"{ROOT}/logs/attribute_bands/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/attribute_bands/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
    params:
        recipe=lambda w: recipe(**band_attribution_recipe(STUDY, w.evaluation)),
        code=lambda w: code("attribute-bands", *methods_of(attributed_by(STUDY, w.evaluation))),
    shell:
        "python -m terraprobe attribute-bands --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --cards {input.cards} --weights {input.weights} --heads {input.heads} --selections {input.selections}"
        " --labels {input.labels} --recipe {params.recipe:q} --code {params.code} --maps {output.maps} 2>&1"
        " | tee -i {log} >&2"


rule project_bands:
    """t-SNE of what encoders say of single bands; of several seeds the first."""
    input:
        chips=lambda w: f"{ROOT}/collections/{probed_by_mlp(w)}/chips.parquet",
        stores=lambda w: towers_read(drawn_by(STUDY, w.evaluation), probed_by_mlp(w)),
        context=lambda w: context_read(drawn_by(STUDY, w.evaluation), probed_by_mlp(w)),
        cards=lambda w: encoder_files(drawn_by(STUDY, w.evaluation), "card.json"),
        weights=lambda w: encoder_files(drawn_by(STUDY, w.evaluation), "encoder.safetensors"),
    output:
        projections=f"{ROOT}/mlp/{{evaluation}}.projections.parquet",
    log:
        f"{ROOT}/logs/project_bands/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/project_bands/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        recipe=lambda w: recipe(**band_projection_recipe(STUDY, w.evaluation)),
        code=lambda w: code("project-bands", *methods_of(drawn_by(STUDY, w.evaluation))),
    shell:
        "python -m terraprobe project-bands --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --cards {input.cards} --weights {input.weights} --recipe {params.recipe:q} --code {params.code}"
        " --projections {output.projections} 2>&1 | tee -i {log} >&2"
