"""People: identity and looks from one generator, posed into pieces to draw."""
