"""What the study says about itself: names, sources and licences for people, given to the report as its recipe."""

from terraprobe.stage import Recipe


class _OfKind(Recipe):
    """What is real or simulated.

    Attributes:
        simulated: whether it is.
    """

    simulated: bool

    @property
    def kind(self) -> str:
        """`simulated` or `real`."""
        return "simulated" if self.simulated else "real"


class CollectionNote(_OfKind):
    """A collection, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings and figures.
        simulated: whether its pixels and labels were made by the simulator.
        source: what the data are and where they come from.
        licence: of pixels and labels.
        attribution: text that the licences ask to show.
        split: how its chips are divided, in a sentence or two.
        planted_km: autocorrelation length that the simulator planted; none in real data.
    """

    name: str
    title: str
    source: str
    licence: str
    attribution: str = ""
    split: str = ""
    planted_km: float | None = None


class EncoderNote(Recipe):
    """An encoder, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings and figures.
        collections: that it was trained on.
        data: the same for people, such as `Virginia (real)`.
        deviations: where it leaves its paper, one sentence each.
        members: names of its encoders, one a seed, where there are several.
        arm: that it stands for beside encoders of other collections; empty where it stands for itself.
        budgets: that it was given, `chips` or `compute`.
    """

    name: str
    title: str
    collections: tuple[str, ...]
    data: str
    deviations: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    arm: str = ""
    budgets: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """Folders of its encoders, one a seed."""
        return self.members or (self.name,)


class EvaluationNote(Recipe):
    """An evaluation, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings.
        collection: whose chips and labels it uses.
        reference: encoder that learnt with labels, which the others are held against; empty: there is none.
    """

    name: str
    title: str
    collection: str
    reference: str = ""


class ClassificationNote(_OfKind):
    """An evaluation of supervised encoders by their own heads, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings.
        collection: whose chips are judged.
        simulated: whether they are simulated.
        efficiency_at: p of Eff-p.
        label: chip-level classes.
        classes: that the encoders tell apart, by code.
        seed: of the chips that are shown.
        pictured: whether chips are shown: of a pool the first evaluation's alone.
    """

    name: str
    title: str
    collection: str
    efficiency_at: float = 0.95
    label: str = ""
    classes: tuple[str, ...] = ()
    seed: int = 0
    pictured: bool = True


class ReconstructionNote(_OfKind):
    """An evaluation of autoencoders, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings.
        collection: whose chips are judged.
        simulated: whether they are simulated.
        encoders: names of the entries that are judged.
        label: chip-level classes that a support vector machine learnt; empty: none did.
    """

    name: str
    title: str
    collection: str
    encoders: tuple[str, ...]
    label: str = ""


class SegmentationNote(_OfKind):
    """An evaluation of pixels, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings.
        collection: whose chips are judged.
        simulated: whether they are simulated.
        encoders: names of the entries that are judged.
        classes: that are told apart, in the order of their numbers.
        about: how they are, in a sentence.
    """

    name: str
    title: str
    collection: str
    encoders: tuple[str, ...]
    classes: tuple[str, ...]
    about: str


class MlpNote(_OfKind):
    """An evaluation by MLPs band by band, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings.
        collection: whose chips are judged.
        simulated: whether they are simulated.
        label: chip-level classes.
    """

    name: str
    title: str
    collection: str
    label: str


class PoolNote(_OfKind):
    """Evaluations that are also compared as one, for people.

    Attributes:
        name: as in the study file.
        title: short, for headings.
        evaluations: their names.
        simulated: whether one of them is done on simulated data.
    """

    name: str
    title: str
    evaluations: tuple[str, ...]


class ClassPoolNote(PoolNote):
    """Evaluations of supervised encoders, by MLPs or of pixels, that are also compared as one, for people.

    Attributes:
        margin: within which two arms are called equal; None: none are.
    """

    margin: float | None = None


class ReportRecipe(Recipe):
    """Recipe of `write_report`.

    Attributes:
        study: name of the study.
        title: of the page.
        about: one or two sentences on what this study is for.
        collections: in the order of the page.
        encoders: in the order of the page.
        evaluations: in the order of the page.
        classifications: in the order of the page.
        reconstructions: in the order of the page.
        segmentations: in the order of the page.
        pools: of forests, in the order of the page.
        class_pools: of heads, in the order of the page.
        mlp_probes: in the order of the page.
        mlp_pools: of MLPs, in the order of the page.
        segmentation_pools: of pixels, in the order of the page.
        papers: whose published numbers stand beside ours.
        left_out: what a list of studies lacks here and why, by study.
    """

    study: str
    title: str
    about: str
    collections: tuple[CollectionNote, ...]
    encoders: tuple[EncoderNote, ...]
    evaluations: tuple[EvaluationNote, ...]
    classifications: tuple[ClassificationNote, ...] = ()
    reconstructions: tuple[ReconstructionNote, ...] = ()
    segmentations: tuple[SegmentationNote, ...] = ()
    pools: tuple[PoolNote, ...] = ()
    class_pools: tuple[ClassPoolNote, ...] = ()
    mlp_probes: tuple[MlpNote, ...] = ()
    mlp_pools: tuple[ClassPoolNote, ...] = ()
    segmentation_pools: tuple[ClassPoolNote, ...] = ()
    papers: tuple[str, ...] = ()
    left_out: dict[str, tuple[str, ...]] = {}

    @property
    def titles(self) -> dict[str, str]:
        """Of evaluations whose calls are counted by block."""
        titles = {note.name: note.title for note in self.evaluations}
        titles |= {note.name: note.title for note in self.classifications}
        return titles | {note.name: note.title for note in self.segmentations}
