"""What a study file may hold: one frozen dataclass a section, a docstring under each field."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from scalelab.config.corpus import CorpusConfig, SourceConfig
from scalelab.config.values import (
    STRICT,
    Count,
    Decay,
    Delta,
    Epsilon,
    HeldOutTokens,
    Name,
    NonNegative,
    Number,
    Positive,
    Rate,
    Share,
    to_count,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PowerRule:
    """A hyper-parameter that follows size: value * (x / at) ** exponent."""

    value: Rate
    """Its value at x = `at`."""
    at: Rate
    """The reference size."""
    exponent: Number
    """The power of x."""
    of: Literal["N", "D"] = "N"
    """What x is: N, non-embedding parameters, or D, training tokens."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The model family and the shape that the sizes of a ladder share."""

    family: str = "gpt2"
    """Name of a registered family, or hf:NAME for a causal model of transformers."""
    depth: Positive = 3
    """Transformer blocks; of t5 those of encoder and decoder each."""
    heads: Positive = 2
    """Attention heads; the width must be divisible by it."""
    width: Positive | None = None
    """Model width, for studies without a ladder or with `model.width` as an axis."""
    context: Positive = 128
    """Tokens in a training sequence."""
    mup_base_width: Positive | None = None
    """Width at which muP (Yang et al. 2022) equals the standard parametrisation; `training.lr` is
    then the rate at that width, for all widths. None: no muP."""
    kv_heads: Positive | None = None
    """For llama and moe: heads of keys and values, a divisor of `heads`, each shared by several
    heads of queries (grouped-query attention, Ainslie et al. 2023). None: as many as `heads`."""
    inner: Positive | None = None
    """For llama and moe: inner width of the MLP, or of one expert. None: 8/3 of the width, for moe
    over `active_experts`, rounded up to a multiple of 8."""
    tied: bool | None = None
    """For llama and moe: whether the output head is the token embedding. None: it is not."""
    band: Positive | None = None
    """For gpt3: tokens that every second layer sees, itself included. None: an eighth of the
    context."""
    experts: Positive | None = None
    """For moe: experts of a layer. None: 8."""
    active_experts: Positive | None = None
    """For moe: how many of them a token passes. None: 2."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ShapeConfig:
    """One size, written out."""

    depth: Positive
    """Transformer blocks."""
    width: Positive
    """Model width."""
    heads: Positive
    """Attention heads."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LadderConfig:
    """The sizes of the study: widths, whole shapes, or target sizes that widths are chosen for."""

    widths: tuple[Positive, ...] = ()
    """Model widths, one a rung, at the depth and heads of `model`."""
    shapes: tuple[ShapeConfig, ...] = ()
    """Shapes, one a rung, where depth and heads grow too: {depth: 4, width: 256, heads: 4}."""
    sizes: tuple[Positive, ...] = ()
    """Target N (non-embedding parameters); the nearest width that divides is taken."""
    width_multiple: Positive = 8
    """Widths chosen from `sizes` are multiples of this."""
    seeds: Positive = 1
    """Runs of each size that differ in their seed only."""
    smallest: Count = 0
    """How many of the smallest sizes get `smallest_seeds` runs instead."""
    smallest_seeds: Positive = 2
    """Seeds for those sizes."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScheduleConfig:
    """The learning rate over a run, as shares of its steps."""

    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    """warmup-stable-decay (linear cooldown), cosine, or constant after warm-up."""
    warmup: Share = 0.02
    """Share of steps of linear warm-up."""
    warmup_tokens: Positive | PowerRule | None = None
    """Tokens of linear warm-up in place of a share: a number, or a power rule such as {value: 1e6,
    at: 1e6, exponent: 1} for N tokens (Porian et al. 2024)."""
    share_trunk: bool = False
    """Train the steps before the cooldown once for all runs that differ in D alone (wsd with
    warmup_tokens; Haegele et al. 2024). The losses are those of runs trained alone, to the bit."""
    cooldown: Share = 0.3
    """Share of steps of the final decay (wsd only)."""
    final: Share = 0.0
    """Learning rate of the last step over the peak."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """How each run is trained. Exactly one of tokens and tokens_per_param is given, by the file or
    by its design."""

    tokens: Positive | None = None
    """D, training tokens of every run."""
    tokens_per_param: Rate | None = None
    """D / N, when D follows the size."""
    unique_tokens: Positive | None = None
    """U, distinct tokens that a run sees: a run of more tokens repeats them, each epoch in an order
    of its own. None: no token is seen twice."""
    batch_tokens: Positive | PowerRule = 1024
    """Tokens in an optimiser step, rounded to whole sequences; a number, a power rule, or the rule
    of a finished sweep ({sweep: batch-sweep})."""
    lr: Rate | PowerRule = 3e-3
    """Peak learning rate; a number, a power rule, or the rule of a finished sweep
    ({sweep: lr-sweep} reads results/lr-sweep/laws.json)."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    weight_decay: NonNegative = 0.1
    """Decoupled weight decay of the matrices (not of biases, norms and embeddings)."""
    beta1: Decay = 0.9
    """AdamW's first decay rate."""
    beta2: Decay | Literal["auto"] = 0.99
    """AdamW's second decay rate; auto averages over 40% of the run's steps: 1 - 2.5 / steps, within
    0.95 and 0.999."""
    clip: Rate = 1.0
    """Largest norm of the gradient."""
    attention: Literal["stream", "documents"] = "stream"
    """What a token sees of a packed sequence: all before it, or its own document alone, with
    positions counted from the document's start (then held-out text is scored so too)."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16", "fp8", "fp8_emulated"] = "auto"
    """Precision of products; master weights stay in fp32. auto takes bf16 where it is measured to
    be clearly faster. tf32 needs CUDA; fp16 scales the loss; fp8 needs a CUDA device that has it
    and `pip install 'scalelab[fp8]'`; fp8_emulated rounds as fp8 does, on any device and slowly."""
    compile: bool = False
    """Use torch.compile: minutes to start, worth it on CUDA for long runs."""
    distil_weight: Share = 0.0
    """What the distribution of a teacher weighs in the loss: 0 is no teacher, 1 the teacher alone.
    The teacher is the largest size of the ladder, trained without one, so the study needs 0 too:
    axes: {training.distil_weight: [0, 0.5, 1]}."""
    distil_temperature: Rate = 1.0
    """What the logits of teacher and student are divided by where they are compared."""
    dp_epsilon: Epsilon | None = None
    """Privacy budget of the run, in which a sequence of the training text counts as one: gradients
    are clipped sequence by sequence, and noise is added to their sum (DP-SGD; docs/axes/privacy.md;
    `pip install 'scalelab[privacy]'`). None: neither. As an axis: {training.dp_epsilon: [null, 8,
    2]}."""
    dp_delta: Delta = 1e-6
    """The delta of that budget: well below one over the sequences of the training text."""
    dp_clip: Rate = 0.1
    """Norm to which the gradient of one sequence's mean loss is clipped with dp_epsilon."""
    init: str | None = None
    """What a run starts from, not random weights: a folder with a checkpoint in transformers'
    layout, in which {width}, {depth} and {seed} (from 1, as in labels) stand for those of the run,
    e.g. results/STUDY/checkpoints/d{width}-s{seed}; or owner/name on the Hugging Face hub, with
    @revision where it is not main. The weights are part of a run's identity, their place is not.
    None: random weights. D and C are those of this training alone (docs/axes/transfer.md)."""
    checkpoint_activations: bool = False
    """Keep of each block its input alone and compute the rest again in the backward pass: less
    memory, about a third more FLOPs, the same loss."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSetConfig(SourceConfig):
    """A text beside the corpus that every run is scored on too: another domain, another language.
    Its source has the keys that a corpus has for it."""

    name: Name
    """Name of the set, in columns such as NAME:loss_nats."""
    tokens: HeldOutTokens
    """Tokens to score, after what stands in the training split is cut out."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationConfig:
    """How the held-out loss is measured."""

    split: Literal["test", "tuning"] = "test"
    """test is reported; tuning is for sweeps."""
    context: Positive | None = None
    """Window in tokens; by default the context that each run was trained at."""
    stride: Positive | None = None
    """Tokens between windows; the window itself by default (blocks). Each token is scored once."""
    sets: tuple[EvaluationSetConfig, ...] = ()
    """Further texts that each run is scored on, e.g. [{name: news, source: files, paths:
    [news/*.txt], tokens: 100k}]. One more set is scored without training anything anew."""
    measures: tuple[Name, ...] = ()
    """What each run is measured by beside its loss, e.g. [in_context, induction, logit_lens,
    calibration] (docs/axes/inside.md). One more is taken without training anything anew."""
    tasks: tuple[Name, ...] = ()
    """What the measure `tasks` asks: cloze, choice, span, acceptable and follows, which are made
    from the held-out text, and any task of lm-evaluation-harness by name, e.g. [cloze, arc_easy]
    (docs/axes/tasks.md). The five by default."""
    tasks_folder: str | None = None
    """Folder with YAML files of further tasks, as lm-evaluation-harness reads them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitConfig:
    """One law to fit."""

    law: str = "power_offset"
    """Name of a registered law."""
    x: Literal["N", "N_active", "N_total", "D", "C"] | None = None
    """What the loss is a function of. None: N, or all columns of a law of several."""
    y: Literal["loss_nats", "bits_per_byte"] = "loss_nats"
    """What is fitted."""
    set: Name | None = None
    """Name of one of `evaluation.sets` whose loss it is. None: the loss on the split."""
    objective: Literal["least_squares", "huber", "lad"] | None = None
    """Of log loss: squares, Huber's function or absolute values; least_squares, or huber where
    delta is given."""
    delta: Rate | None = None
    """Huber's threshold; 1.345 robust standard deviations of the residuals unless given."""
    intervals: str = "auto"
    """How intervals are found; auto chooses by points and clusters (docs/statistics.md)."""
    fixed: dict[str, NonNegative] = field(default_factory=dict)
    """Parameters held at a value, such as {E: 1.69}."""
    tied: tuple[tuple[str, str], ...] = ()
    """Pairs of parameters that are one number, such as [[alpha, beta]]."""
    cluster: str | None = None
    """Column of the table of runs whose equal values are one piece of evidence; none for rows."""
    noise: str | None = None
    """Column that holds the standard error of the loss, to weigh squares by, such as
    loss_nats_se."""
    cell: Literal["auto", "best", "mean", "last"] | None = None
    """Several runs at one x: auto (seeds stay, of settings the best), best, mean or last."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaptiveConfig:
    """Rounds of runs chosen from those of the design by what they are expected to tell."""

    until: dict[str, Rate]
    """Stop when the interval of this quantity is no wider than plus or minus this, e.g.
    {alpha: 0.02}."""
    max_flops: Rate | None = None
    """Stop before the runs cost more training FLOPs than this. None: when all runs are trained."""
    start: Annotated[int, BeforeValidator(to_count), Field(ge=4)] = 6
    """Runs of the first round, spread over the design, the cheaper ones."""
    runs_per_round: Positive = 1
    """Runs that each later round adds."""
    law: str | None = None
    """Law whose quantity is narrowed. None: the first of the fits."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FiguresConfig:
    """How figures are drawn; changing it redraws and does nothing else."""

    width: Literal["auto", "single", "double"] = "auto"
    """One or two columns of a paper; auto takes what suits each kind of figure."""
    style: Literal["paper", "neurips", "icml", "acl", "nature", "ieee"] = "paper"
    """Widths and type of a venue; `scalelab figures --style` redraws in another one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ComputeConfig:
    """How runs are placed on the machine."""

    large_from: Positive | None = 200_000
    """Runs of at least this N train on `large_threads` threads; smaller ones run side by side on
    one thread each; null gives one thread to every run."""
    large_threads: Positive = 2
    """Threads of a large run. Part of a run's identity, since sums are ordered by thread."""
    large_processes: Positive = 1
    """Data-parallel processes of a large run, on one host, each with `large_threads` threads or a
    device of its own. No part of its identity."""
    large_writers: Positive = 1
    """Processes that share what the measure `generation` lets a large run write, each on one thread
    or a device of its own. The texts are the same."""
    sharding: bool = False
    """Split weights, gradients and optimiser state over the processes (FSDP)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrackingConfig:
    """Experiment tracking: runs and the fit, mirrored from the local files. WANDB_MODE in the
    environment has the last word on `wandb`."""

    kind: Literal["wandb", "tensorboard", "trackio", "none"] = "wandb"
    """The tracker. tensorboard and trackio come with `pip install 'scalelab[trackers]'`."""
    wandb: Literal["offline", "online", "disabled"] = "offline"
    """Mode of Weights & Biases; the others are local."""
    project: str = "scalelab"
    """The tracker's project."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Study:
    """A whole study file."""

    study: Name
    """Name of the study and of its folder under results/."""
    description: str = ""
    """One sentence for the report."""
    seed: Count = 1234
    """The one seed; every consumer of randomness derives its own stream from it."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    ladder: LadderConfig = field(default_factory=LadderConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    design: dict[str, Any] = field(default_factory=lambda: {"kind": "ladder"})
    """What is varied, e.g. {kind: isoflop, budgets: [1e12, 1e13]}: see the designs below."""
    axes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Keys of `model`, `training` and `corpus` to cross with the design, e.g. {training.lr: [1e-3,
    2e-3]}."""
    adaptive: AdaptiveConfig | None = None
    """Train the runs of the design in rounds, the most telling ones first. None: all of them."""
    fits: tuple[FitConfig, ...] | None = None
    """Laws to fit; the first one leads the report. None: those of the design; empty: no law."""
    figures: FiguresConfig = field(default_factory=FiguresConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
