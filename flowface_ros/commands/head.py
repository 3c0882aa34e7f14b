"""`flowface head`: what is in a head model, FLAME's import, and pictures of a head."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowface_ros.head.model import HeadModel

NAME = "head"
HELP = "Shows, imports and draws head models."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="action", required=True)

    info = actions.add_parser("info", help="print what a head model holds")
    _add_head(info)
    info.set_defaults(head_action=_info)

    importer = actions.add_parser(
        "import",
        help="convert a FLAME pickle to a head model file",
        description="Converts a FLAME pickle (2017 to 2023, 2023 Open) to a head model file that "
        "wears the built-in head's atlas. No code in the pickle is run. FLAME's own licence goes "
        "on to hold for the file.",
    )
    importer.add_argument("pickle", type=Path, help="FLAME model, e.g. generic_model.pkl")
    importer.add_argument("--out", type=Path, required=True, help="head model file to write (.npz)")
    importer.add_argument(
        "--landmarks",
        type=Path,
        metavar="PKL",
        help="FLAME's static landmark embedding, to hold the registration to (not needed)",
    )
    importer.set_defaults(head_action=_import)

    render = actions.add_parser("render", help="draw identities, expressions, jaw and gaze")
    _add_head(render)
    render.add_argument("--out", type=Path, required=True, help="picture to write (.png)")
    render.set_defaults(head_action=_render)


def run(args: argparse.Namespace) -> int:
    return args.head_action(args)


def _add_head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, nargs="?", help="head model file; the built-in head when left out"
    )


def _read(args: argparse.Namespace) -> HeadModel:
    from flowface_ros.head.model_file import load_builtin_head, read_head

    return load_builtin_head() if args.file is None else read_head(args.file)


def _info(args: argparse.Namespace) -> int:
    from flowface_ros.head.describe import describe

    print(describe(_read(args)))
    return 0


def _import(args: argparse.Namespace) -> int:
    from flowface_ros.head.flame_import import import_flame
    from flowface_ros.head.model_file import load_builtin_head, write_head

    print("registering to the built-in head, which takes some seconds", flush=True)
    model, registration = import_flame(args.pickle, load_builtin_head(), args.landmarks)
    write_head(args.out, model)
    print(registration.summary())
    print(f"wrote {args.out} (hash {model.model_hash:016x})")
    return 0


def _render(args: argparse.Namespace) -> int:
    from flowface_ros.bag.images import encode_png
    from flowface_ros.synth.sheets.head_sheet import draw_head_sheet

    if args.out.suffix.lower() != ".png":
        raise ValueError(f"--out is {args.out}, must end in .png")
    picture = draw_head_sheet(_read(args))
    args.out.write_bytes(encode_png(picture))
    print(f"wrote {args.out} ({picture.shape[1]} x {picture.shape[0]})")
    return 0
