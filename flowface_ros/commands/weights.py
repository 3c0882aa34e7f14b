"""`flowface weights`: what a network is made of, and a trained network to an ONNX file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowface_ros.align.network.flops import ModuleCost

NAME = "weights"
HELP = "Shows what a network is made of, exports, imports and measures networks."
DEFAULT_LICENCE = "Apache-2.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="action", required=True)

    info = actions.add_parser("info", help="print parameters, GFLOP and metadata")
    info.add_argument("network", help="an ONNX file, a checkpoint (.pt), or light, base or paper")
    info.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    info.set_defaults(weights_action=_info)

    export = actions.add_parser("export", help="write a trained network as an ONNX file")
    export.add_argument("checkpoint", type=Path, help="checkpoint of a training run (.pt)")
    export.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    export.add_argument(
        "--licence",
        default=DEFAULT_LICENCE,
        help="SPDX expression for the weights (default: %(default)s)",
    )
    export.set_defaults(weights_action=_export)

    verify = actions.add_parser(
        "verify", help="measure an aligner on synthetic faces and photographs"
    )
    verify.add_argument(
        "--weights", type=Path, help="ONNX file of a network (default: what the package ships)"
    )
    verify.add_argument("--aligner", choices=("network", "landmarks"), help="of the package's own")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    verify.add_argument("--count", type=int, default=64, help="synthetic pictures (default: 64)")
    verify.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="photographs (default: the portrait in scikit-image, if installed)",
    )
    verify.add_argument(
        "--set",
        type=Path,
        metavar="FOLDER",
        dest="picture_set",
        help="measure on a set of pictures with truth instead, as tools/blender_set.py makes",
    )
    verify.set_defaults(weights_action=_verify)

    mica = actions.add_parser("import-mica", help="convert a MICA checkpoint to an ONNX file")
    mica.add_argument("checkpoint", type=Path, help="the user's checkpoint (mica.tar)")
    mica.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    mica.set_defaults(weights_action=_import_mica)


def run(args: argparse.Namespace) -> int:
    return args.weights_action(args)


def _info(args: argparse.Namespace) -> int:
    from flowface_ros.align.network.flops import cost_table

    costs, about = _describe(args.network)
    for name, value in about.items():
        print(f"{name}: {value}")
    print(cost_table(costs))
    if args.json is not None:
        modules = {
            cost.name: {k: v for k, v in vars(cost).items() if k != "name"} for cost in costs
        }
        args.json.write_text(json.dumps({**about, "modules": modules}, indent=1), encoding="utf-8")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from flowface_ros.align.aligner import LIGHT_NETWORK
    from flowface_ros.align.landmarks_aligner import LandmarksAligner
    from flowface_ros.align.network_aligner import NetworkAligner
    from flowface_ros.head.model_file import load_builtin_head
    from flowface_ros.train.picture_set import format_set, set_figures
    from flowface_ros.train.verify import verify

    if args.count < 1:
        raise ValueError(f"--count is {args.count}, must be at least 1")
    if args.weights and args.aligner == "landmarks":
        raise ValueError("--weights are of a network; --aligner landmarks has none to choose")
    weights, name = args.weights or LIGHT_NETWORK, args.aligner or "network"
    model = load_builtin_head()
    aligner: LandmarksAligner | NetworkAligner
    if name == "landmarks":
        aligner, weights = LandmarksAligner(model, device="cpu"), None
    else:
        aligner = NetworkAligner(model, weights, device="cpu")
    about: dict[str, Any] = {"aligner": name, "weights": None if weights is None else weights.name}
    if args.picture_set is not None:
        about["set"] = set_figures(aligner, model, args.picture_set)
        print(format_set(about["set"]))
    else:
        figures = verify(aligner, aligner.grid, model, args.count, args.pictures)
        for key, value in figures.items():
            print(f"{key}: {'not measured' if value is None else f'{value:.3f}'}")
        about |= figures
    if args.json is not None:
        args.json.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return 0


def _import_mica(args: argparse.Namespace) -> int:
    from flowface_ros.fit.mica_export import export_mica

    export_mica(args.checkpoint, args.out)
    print(f"wrote {args.out}")
    return 0


def _describe(name: str) -> tuple[list[ModuleCost], dict[str, str]]:
    """Costs by module and what there is to say about the network, by name."""
    from flowface_ros.align.network.config import PRESETS

    if name in PRESETS:
        return _describe_torch(name)
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"network: {name!r} is neither a file nor one of {sorted(PRESETS)}")
    return _describe_torch(name) if path.suffix == ".pt" else _describe_onnx(path)


def _describe_torch(name: str) -> tuple[list[ModuleCost], dict[str, str]]:
    from flowface_ros.align.network.checkpoint import load_checkpoint
    from flowface_ros.align.network.config import PRESETS
    from flowface_ros.align.network.constants import blank_constants
    from flowface_ros.align.network.flops import network_cost
    from flowface_ros.align.network.networks import make_network

    if name in PRESETS:
        network = make_network(PRESETS[name], blank_constants(PRESETS[name]))
        about = {"preset": f"{name} (constants as without an atlas)"}
    else:
        network, _ = load_checkpoint(Path(name))
        about = {"file": name, "atlas_hash": f"{network.atlas_hash:016x}"}
    return network_cost(network), {**about, "config": network.config.to_json()}


def _describe_onnx(path: Path) -> tuple[list[ModuleCost], dict[str, str]]:
    from flowface_ros.align.network.flops import onnx_cost
    from flowface_ros.align.network.metadata import load_model

    model = load_model(path)
    about = {
        "file": str(path),
        "size": f"{path.stat().st_size / 1e6:.2f} MB",
        "opset": ", ".join(
            f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import
        ),
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
    }
    if model.doc_string:
        about["provenance"] = model.doc_string
    about |= {entry.key: entry.value for entry in model.metadata_props if entry.key not in _HIDDEN}
    return onnx_cost(path), about


_HIDDEN = {"flowface.float32_nodes", "flowface.unused_weights"}
"""Hundreds of names that tell a reader nothing."""


def _export(args: argparse.Namespace) -> int:
    from flowface_ros.align.network.checkpoint import load_checkpoint
    from flowface_ros.align.network.export import export_onnx

    network, _ = load_checkpoint(args.checkpoint)
    export_onnx(network, args.out, args.licence)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.2f} MB)")
    return 0
