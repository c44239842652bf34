"""Options that several commands share, so that they are spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Taxonomy = Annotated[
    str, typer.Option("--taxonomy", "-t", metavar="TAXONOMY", help="A taxonomy file, or the name of a shipped one.")
]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A model, as written by hclf train.")]
Fields = Annotated[
    str,
    typer.Option(
        "--fields",
        help="Text fields, joined by commas, the most telling first; a weight may follow: title,brand:0.3.",
    ),
]
LabelField = Annotated[str, typer.Option("--label-field", help="Where the labels are.")]
IdField = Annotated[str, typer.Option("--id-field", help="Where the ids are.")]
InputFormat = Annotated[
    str | None, typer.Option("--input-format", help="jsonl, csv, tsv or parquet, if the file's name does not tell.")
]
NewModel = Annotated[Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder to write the model to.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row instead of skipping it.")]
GOALS = (
    "hf, hf_example, macro_f1, exact_match, 'precision>=0.9' (or 'precision>=0.9 per level', '… per node'), "
    "'recall>=0.8' or 'cost:fp=1,fn=5'"
)
Goal = Annotated[str, typer.Option("--goal", help=f"Tune thresholds for {GOALS}.")]
TuneGoal = Annotated[str | None, typer.Option("--goal", help=f"{GOALS}; default: what the model was made for.")]
Confidence = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        help="With --goal 'precision>=P': answer only as deep as is safe, so that new documents of the same kind "
        "are answered at that precision with this confidence, such as 0.9.",
    ),
]
DECODERS = "threshold, path, leaf, top-k, expected-f or safe-depth"
Decoder = Annotated[str, typer.Option("--decoder", help=f"auto, {DECODERS}.")]
Coherence = Annotated[str, typer.Option("--coherence", help="max, min or isotonic.")]
Calibrate = Annotated[
    str, typer.Option("--calibrate", help="Calibrate coherent scores: auto, none, or a method for all levels.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
DecoderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--decoder-option",
        metavar="NAME=VALUE",
        help="Of the decoder, such as at_most=[1,3] or exclusive=all of threshold; may repeat.",
    ),
]
K = Annotated[int | None, typer.Option("--k", min=1, help="How many labels, for --decoder top-k.")]
ToLeaf = Annotated[bool, typer.Option("--to-leaf", help="For --decoder path: never stop early.")]
OperatingPoint = Annotated[
    str, typer.Option("--operating-point", metavar="NAME", help="Answer at this point; see hclf inspect.")
]
Rules = Annotated[
    str | None,
    typer.Option(
        "--rules",
        metavar="flag|repair|off",
        help="flag: say what the rules of the taxonomy object to; repair: also do what the hard ones say; "
        "default: flag where there are rules.",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DATE", help="The day, YYYY-MM-DD, for which labels have to be valid."),
]
Assignable = Annotated[
    bool,
    typer.Option(
        "--assignable",
        help="Where a label cannot be assigned, such as a code that is not billable, answer with the one below it "
        "that clearly leads; say so where none does.",
    ),
]
Grid = Annotated[bool, typer.Option("--grid", help="Try only the thresholds 0.30, 0.35, …, 0.70.")]
Global = Annotated[bool, typer.Option("--one-threshold", help="One threshold for all levels.")]

_NETWORKS = "Networks (the extra neural)"
_PROMPTS = "Language models asked by prompt (the extra prompt)"
ScorerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scorer-option",
        metavar="NAME=VALUE",
        help="Of the scorer, such as dropout=0.2; of several, neural.dropout=0.2; may repeat.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="FOLDER_OR_NAME",
        help="The language model of the neural and similarity scorers, as Hugging Face has them.",
        rich_help_panel=_NETWORKS,
    ),
]
LanguageModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A causal language model: its folder, its name on the hub, or with --base-url on that server.",
        rich_help_panel=_PROMPTS,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="An OpenAI-compatible server, such as http://localhost:8080/v1; its key: HCLF_API_KEY.",
        rich_help_panel=_PROMPTS,
    ),
]
Shots = Annotated[
    int | None,
    typer.Option(
        "--shots",
        min=0,
        help="Labelled records shown in each prompt; the saved model then holds some of their texts.",
        rich_help_panel=_PROMPTS,
    ),
]
Instructions = Annotated[
    str | None,
    typer.Option("--instructions", metavar="TEXT", help="What the model should know.", rich_help_panel=_PROMPTS),
]
Templates = Annotated[
    str | None,
    typer.Option(
        "--templates",
        metavar="FOLDER",
        help="Prompt templates of your own; hclf templates writes some to begin with.",
        rich_help_panel=_PROMPTS,
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        "--head",
        help="flat, max_constraint, conditional, label_attention or native; default: flat for texts.",
        rich_help_panel=_NETWORKS,
    ),
]
Learn = Annotated[
    str | None,
    typer.Option(
        "--learn", help="What of the encoder learns: full, frozen (nothing) or lora.", rich_help_panel=_NETWORKS
    ),
]
Members = Annotated[
    int | None,
    typer.Option("--members", min=1, help="Networks trained at once and averaged.", rich_help_panel=_NETWORKS),
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, help="At most; the best one counts.", rich_help_panel=_NETWORKS)
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Records of a training step.", rich_help_panel=_NETWORKS)
]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", help="Of the head; the encoder's is an option.", rich_help_panel=_NETWORKS),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        min=4,
        help="Tokens of a chunk; longer records are read in several.",
        rich_help_panel=_NETWORKS,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FOLDER",
        help="Keep here what is needed to go on after an interruption.",
        rich_help_panel=_NETWORKS,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where the checkpoint stands.", rich_help_panel=_NETWORKS)
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one.", rich_help_panel=_NETWORKS),
]
