"""The dense UV-to-image flow network: definition, counts, export.

`config` and `metadata` need neither torch nor ONNX Runtime; the modules that define layers import
torch, and nothing that runs an exported network imports them.
"""
