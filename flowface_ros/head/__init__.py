"""The parametric head: model file, skinning, surface points and UV atlas."""
