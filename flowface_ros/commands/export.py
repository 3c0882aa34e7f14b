"""`flowface export`: a tracker's recording as files for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "export"
HELP = "Writes the heads of a recording as npz, csv, glTF, OBJ, PLY or FLAME parameters."

FORMATS = {
    "npz": "arrays of every face and frame",
    "csv": "ARKit weights as Live Link Face records them",
    "gltf": "one animated glTF file with morph targets",
    "obj": "a mesh for every face and frame",
    "ply": "the same, binary",
    "flame": "FLAME parameters, for a FLAME head",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="bag with FaceArray, FaceMesh and HeadModel")
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        required=True,
        help="; ".join(f"{name}: {text}" for name, text in FORMATS.items()),
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--id", action="append", default=[], help="only this head; may be repeated")
    parser.add_argument(
        "--namespace",
        help="of the tracker's topics, when the bag has several; /ground_truth for the truth",
    )
    parser.add_argument(
        "--head",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a head model that meshes are of, beyond the built-in one; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from flowface_ros.bag import export_files
    from flowface_ros.bag.export_gltf import export_gltf
    from flowface_ros.bag.person_tracks import read_tracks
    from flowface_ros.head.model_file import read_head

    heads = tuple(read_head(path) for path in args.head)
    tracks = read_tracks(args.bag, args.namespace, heads)
    if args.id:
        known = {person.id for person in tracks.people}
        if unknown := sorted(set(args.id) - known):
            raise ValueError(
                f"--id: no {', '.join(unknown)}; the bag has {', '.join(sorted(known))}"
            )
        tracks = replace(tracks, people=tuple(p for p in tracks.people if p.id in args.id))
    writers = {
        "npz": export_files.export_npz,
        "csv": export_files.export_live_link,
        "gltf": export_gltf,
        "flame": export_files.export_flame,
    }
    if args.format in writers:
        paths = writers[args.format](tracks, args.out)
    else:
        paths = export_files.export_meshes(tracks, args.out, f".{args.format}")
    print(f"wrote {len(paths)} file{'s' if len(paths) != 1 else ''} to {args.out}")
    return 0
