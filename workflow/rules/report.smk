"""What came out: one table of scores, t-SNE pictures, one page."""

EMBEDDINGS = [f"{ROOT}/embeddings/{e}/{c}.parquet" for c in NAMES for e in STUDY.drawn_of(c)]
LABELLED = [c.name for c in STUDY.collections if c.label_layers]


rule gather_scores:
    """All scores of the study in one table, with intervals and paired differences."""
    input:
        scores=score_files("parquet"),
        blocks=score_files("blocks.parquet"),
        optimism=score_files("optimism.parquet"),
    output:
        table=f"{ROOT}/scores.parquet",
        summary=f"{ROOT}/summary.parquet",
        differences=f"{ROOT}/differences.parquet",
        pooled=f"{ROOT}/pooled.parquet",
        gaps=f"{ROOT}/optimism.parquet",
    log:
        f"{ROOT}/logs/gather_scores/all.log",
    benchmark:
        f"{ROOT}/benchmarks/gather_scores/all.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(**STUDY.summary_recipe()),
        code=code("gather-scores"),
    shell:
        "python -m terraprobe gather-scores --scores {input.scores} --blocks {input.blocks}"
        " --optimism {input.optimism} --recipe {params.recipe:q} --code {params.code} --table {output.table}"
        " --summary {output.summary} --differences {output.differences} --pooled {output.pooled}"
        " --gaps {output.gaps} 2>&1 | tee -i {log} >&2"


rule gather_mistakes:
    """Where encoders err: wrong calls by block of test chips."""
    input:
        chips=[f"{ROOT}/collections/{c}/chips.parquet" for c in NAMES],
        blocks=score_files("blocks.parquet"),
        class_blocks=class_files(".blocks"),
        pixels=called_pixels(),
    output:
        mistakes=f"{ROOT}/mistakes.parquet",
    log:
        f"{ROOT}/logs/gather_mistakes/all.log",
    benchmark:
        f"{ROOT}/benchmarks/gather_mistakes/all.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(**STUDY.mistakes_recipe()),
        code=code("gather-mistakes"),
    shell:
        "python -m terraprobe gather-mistakes --chips {input.chips} --blocks {input.blocks}"
        " --class-blocks {input.class_blocks} --pixels {input.pixels} --recipe {params.recipe:q} --code {params.code}"
        " --mistakes {output.mistakes} 2>&1 | tee -i {log} >&2"


rule project_embeddings:
    """t-SNE of every encoder's embeddings of every collection; of several seeds the first."""
    input:
        embeddings=EMBEDDINGS,
    output:
        projections=f"{ROOT}/projections.parquet",
    log:
        f"{ROOT}/logs/project_embeddings/all.log",
    benchmark:
        f"{ROOT}/benchmarks/project_embeddings/all.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        recipe=recipe(max_points=STUDY.tsne_chips),
        code=code("project-embeddings"),
    shell:
        "python -m terraprobe project-embeddings --embeddings {input.embeddings} --recipe {params.recipe:q}"
        " --code {params.code} --projections {output.projections} 2>&1 | tee -i {log} >&2"


rule write_ledger:
    """Every published number and worded claim of the study's papers beside ours."""
    input:
        published=f"{SHIPPED}/published_results.csv",
        answers=f"{SHIPPED}/published_answers.yaml",
        claims=f"{SHIPPED}/published_claims.yaml",
        cards=[f"{ROOT}/encoders/{e.name}/card.json" for e in STUDY.members],
        histories=[f"{ROOT}/encoders/{e.name}/history.parquet" for e in STUDY.members],
        classes=class_files(),
        class_differences=class_files(".differences"),
        reconstruction=reconstruction_files(),
        reconstruction_differences=reconstruction_files(".differences"),
        summary=f"{ROOT}/summary.parquet",
        mlps=mlp_files(),
        mlp_differences=mlp_files(".differences"),
        pixels=segmentation_files(),
        pixel_classes=segmentation_files(".classes"),
        pixel_differences=segmentation_files(".differences"),
    output:
        ledger=f"{ROOT}/ledger.parquet",
        claim_ledger=f"{ROOT}/ledger.claims.parquet",
    log:
        f"{ROOT}/logs/write_ledger/all.log",
    benchmark:
        f"{ROOT}/benchmarks/write_ledger/all.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(**ledger_recipe(STUDY).model_dump(mode="json")),
        code=code("write-ledger"),
    shell:
        "python -m terraprobe write-ledger --published {input.published} --answers {input.answers}"
        " --claims {input.claims} --cards {input.cards} --histories {input.histories} --classes {input.classes}"
        " --class-differences {input.class_differences} --reconstruction {input.reconstruction}"
        " --reconstruction-differences {input.reconstruction_differences} --summary {input.summary}"
        " --mlps {input.mlps} --mlp-differences {input.mlp_differences} --pixels {input.pixels}"
        " --pixel-classes {input.pixel_classes} --pixel-differences {input.pixel_differences}"
        " --recipe {params.recipe:q} --code {params.code} --ledger {output.ledger}"
        " --claim-ledger {output.claim_ledger} 2>&1 | tee -i {log} >&2"


rule write_report:
    """One offline page."""
    input:
        chips=[f"{ROOT}/collections/{c}/chips.parquet" for c in NAMES],
        labels=[f"{ROOT}/collections/{c}/labels.parquet" for c in LABELLED],
        specs=[s for c in NAMES for kind in ("chips", "labels") for s in stores(c, kind)],
        cards=[f"{ROOT}/encoders/{e.name}/card.json" for e in STUDY.members],
        histories=[f"{ROOT}/encoders/{e.name}/history.parquet" for e in STUDY.members],
        projections=f"{ROOT}/projections.parquet",
        scores=f"{ROOT}/scores.parquet",
        summary=f"{ROOT}/summary.parquet",
        differences=f"{ROOT}/differences.parquet",
        pooled=f"{ROOT}/pooled.parquet",
        optimism=f"{ROOT}/optimism.parquet",
        classes=class_files(),
        class_differences=class_files(".differences"),
        class_regions=class_files(".regions"),
        class_pools=[f"{ROOT}/class_pools/{p.name}.parquet" for p in STUDY.pools if STUDY.of_heads(p)],
        attributions=[f"{ROOT}/attributions/{v.name}.npz" for v in STUDY.pictured],
        mlp=mlp_files(),
        mlp_differences=mlp_files(".differences"),
        mlp_curves=mlp_files(".roc"),
        band_attributions=band_pictures("attributions.npz"),
        band_projections=band_pictures("projections.parquet"),
        views=encoder_files(STUDY.augmented, "views.npz"),
        mlp_pools=[f"{ROOT}/mlp_pools/{p.name}.parquet" for p in STUDY.pools if STUDY.of_mlps(p)],
        reconstruction=reconstruction_files(),
        reconstruction_differences=reconstruction_files(".differences"),
        images=reconstructed_images(),
        segmentation=segmentation_files(),
        segmentation_classes=segmentation_files(".classes"),
        segmentation_differences=segmentation_files(".differences"),
        segmentation_pools=[f"{ROOT}/segmentation_pools/{p.name}.parquet" for p in STUDY.pools if STUDY.of_pixels(p)],
        pixel_maps=segmented_maps(),
        leakage=[f"{ROOT}/collections/{c}/leakage.json" for c in NAMES],
        mistakes=f"{ROOT}/mistakes.parquet",
        compute=compute_files(),
        ledger=ledger_files(),
        claim_ledger=ledger_files(".claims"),
    output:
        page=report(f"{ROOT}/report/index.html", category="Page", caption="../report/page.rst"),
        figures=report(
            directory(f"{ROOT}/report/figures"),
            patterns=["{name}.svg", "{name}.png", "{name}.md"],
            category="Figures",
            caption="../report/figures.rst",
        ),
        tables=report(
            directory(f"{ROOT}/report/tables"),
            patterns=["{name}.csv", "{name}.md", "{name}.tex"],
            category="Tables",
            caption="../report/tables.rst",
        ),
    log:
        f"{ROOT}/logs/write_report/all.log",
    benchmark:
        f"{ROOT}/benchmarks/write_report/all.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        recipe=recipe(**report_recipe(STUDY).model_dump(mode="json")),
        code=code("write-report"),
    shell:
        "python -m terraprobe write-report --ledger {input.ledger} --claim-ledger {input.claim_ledger}"
        " --chips {input.chips} --labels {input.labels} --specs {input.specs}"
        " --cards {input.cards} --histories {input.histories} --projections {input.projections}"
        " --scores {input.scores} --summary {input.summary} --differences {input.differences} --pooled {input.pooled}"
        " --optimism {input.optimism} --classes {input.classes} --class-differences {input.class_differences}"
        " --class-regions {input.class_regions} --class-pools {input.class_pools} --attributions {input.attributions}"
        " --reconstruction {input.reconstruction} --reconstruction-differences {input.reconstruction_differences}"
        " --images {input.images} --segmentation {input.segmentation}"
        " --segmentation-classes {input.segmentation_classes}"
        " --segmentation-differences {input.segmentation_differences}"
        " --segmentation-pools {input.segmentation_pools} --pixel-maps {input.pixel_maps}"
        " --mlp {input.mlp} --mlp-differences {input.mlp_differences} --mlp-curves {input.mlp_curves}"
        " --band-attributions {input.band_attributions} --band-projections {input.band_projections}"
        " --views {input.views}"
        " --mlp-pools {input.mlp_pools} --leakage {input.leakage} --mistakes {input.mistakes}"
        " --compute {input.compute}"
        " --recipe {params.recipe:q} --code {params.code} --page {output.page} 2>&1 | tee -i {log} >&2"
