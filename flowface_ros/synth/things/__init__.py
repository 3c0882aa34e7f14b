"""Things on people and before them: glasses, hats, clothes, hands, mugs, as small meshes."""
