"""`stillmotion study`: what people say of clips, asked blind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.options import FLAG, REPORT, Force, Json, Quiet, Seed
from stillmotion.errors import InputError, OutputError

if TYPE_CHECKING:
    from stillmotion.apps.console import Notes
    from stillmotion.evaluation.study.build import Study

app = typer.Typer(help="Ask people which clips are better, blind.", no_args_is_help=True)


@app.command()
def build(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders that `stillmotion evaluate` wrote; several are shown side by side.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="STUDY.html",
            help="The page for the raters; the key that tells whose clip is whose goes to "
            "STUDY.key.json and stays with you.",
        ),
    ],
    design: Annotated[
        str,
        typer.Option(
            metavar="animatezero|dynamicrafter",
            help="Rank all clips in three ways, or choose the best in two and all that conform.",
        ),
    ] = "animatezero",
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods",
            metavar="NAME",
            help="Show this method; give it once for each.",
            show_default="all",
        ),
    ] = None,
    cases: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Cases, spread over the groups.", show_default="all"),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Cases that come twice, to see how far raters agree with themselves.",
            show_default="2, or half of the cases if fewer",
        ),
    ] = None,
    checks: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Attention checks: sets with one spoiled clip."),
    ] = 1,
    side: Annotated[
        int,
        typer.Option(metavar="PIXELS", min=16, max=2048, help="Longer side of the clips shown."),
    ] = 320,
    prompts: Annotated[
        bool, typer.Option("--prompts/--no-prompts", metavar=FLAG, help="Show the prompts.")
    ] = True,
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the page is called.", show_default=False),
    ] = None,
    instructions: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME.txt",
            help="What raters read first, instead of our text; blank lines part paragraphs.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME.json",
            help="Words of the page in another language; see docs/user-study.md.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a study as one page that works without a network, and the key to its answers."""
    from stillmotion.jobs.outputs import check_file_output

    if output.suffix.lower() != ".html":
        raise OutputError(f"'{output}' cannot hold a study; use the ending .html.")
    key_path = output.with_suffix(".key.json")
    for path in (output, key_path):
        check_file_output(path, overwrite=force)

    from secrets import randbits

    from stillmotion.apps.console import show
    from stillmotion.evaluation.study.build import StudyOptions, build_study, num_trials
    from stillmotion.evaluation.study.material import gather
    from stillmotion.runtime.progress import Progress

    options = StudyOptions(
        seed=randbits(62) if seed is None else seed,
        design=design, cases=cases, repeats=repeats, checks=checks, side=side,
        show_prompts=prompts, words=_texts(words, title, instructions),
    )  # fmt: skip
    material = gather(runs, methods or ())
    total = num_trials(material, options)
    with Progress("study build", total=total, quiet=quiet) as progress:
        study = build_study(material, options, progress.advance)
    notes = _tell(study.notes)
    size = _write_study(study, output, key_path, force)
    num_cases = sum(trial.kind == "case" for trial in study.key.trials)
    facts = {
        "page": str(output), "key": str(key_path), "study": study.key.study, "seed": options.seed,
        "design": design, "methods": [method.name for method in study.key.methods], "bytes": size,
        "cases": num_cases, "questions": study.key.num_showings, "notes": notes.said,
    }  # fmt: skip
    text = (
        f"{output}: {len(study.key.methods)} methods, "
        f"{num_cases} case{'' if num_cases == 1 else 's'}, "
        f"{study.key.num_showings} questions for each rater, {size / 1e6:.1f} MB\n"
        f"{key_path}: keep it from the raters"
    )
    show(text, facts, as_json=as_json)


@app.command()
def score(
    key: Annotated[
        Path, typer.Argument(metavar="STUDY.key.json", help="The key that `build` wrote.")
    ],
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS", help="The files that raters saved.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="TABLE.md",
            help="Also write the tables to this file.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME.csv",
            help="Also write scores, Borda counts and Bradley-Terry strengths, with intervals.",
            show_default=False,
            rich_help_panel=REPORT,
        ),
    ] = None,
    wins: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME.csv",
            help="Also write how often each method was preferred to each other.",
            show_default=False,
            rich_help_panel=REPORT,
        ),
    ] = None,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete", metavar=FLAG, help="Count raters who did not finish as far as they got."
        ),
    ] = False,
    drop_failed: Annotated[
        bool,
        typer.Option(
            "--drop-failed", metavar=FLAG, help="Leave out raters who failed an attention check."
        ),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Tell how the methods fared, how far raters agree, and how sure that is."""
    from stillmotion.apps.console import show
    from stillmotion.jobs.outputs import check_file_output

    for path in (output, scores, wins):
        if path is not None:
            check_file_output(path, overwrite=force)

    from stillmotion.evaluation.study.answers import gather_answers, read_key
    from stillmotion.evaluation.study.scoring import as_facts, score_study
    from stillmotion.evaluation.study.tables import markdown, scores_csv, wins_csv

    found = read_key(key)
    panel = gather_answers(answers, found, keep_incomplete=incomplete, drop_failed=drop_failed)
    notes = _tell(panel.notes)
    result = score_study(found, panel)
    text = markdown(result)
    _write_text(output, text + "\n", force)
    _write_text(scores, scores_csv(result), force)
    _write_text(wins, wins_csv(result), force)
    show(text, {**as_facts(result), "notes": notes.said}, as_json=as_json)


def _texts(words: Path | None, title: str | None, instructions: Path | None) -> dict[str, str]:
    """The page's words as they are asked for."""
    from stillmotion.evaluation.study.words import translated

    texts = translated(words)
    if title is not None:
        texts["title"] = title
    if instructions is not None:
        try:
            texts["instructions"] = instructions.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            raise InputError(
                f"'{instructions}' is missing or no text in UTF-8; give a text file."
            ) from None
    return texts


def _tell(said: Iterable[str]) -> Notes:
    from stillmotion.apps.console import Notes

    notes = Notes()
    for note in said:
        notes(note)
    return notes


def _write_study(study: Study, output: Path, key_path: Path, force: bool) -> int:
    """Write the page and its key; the size of the page in bytes."""
    from stillmotion.evaluation.study.page import render

    page = render(study)
    # The key first: a page without its key would be answered in vain.
    _write_text(key_path, study.key.model_dump_json(indent=1) + "\n", force)
    _write_text(output, page, force)
    return len(page.encode())


def _write_text(path: Path | None, text: str, force: bool) -> None:
    from stillmotion.runtime.files import atomic_path

    if path is not None:
        with atomic_path(path, overwrite=force) as temporary:
            temporary.write_text(text, encoding="utf-8")
