"""People over time: detection, association, identity, life cycle."""
