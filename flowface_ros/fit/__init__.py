"""Fit: from observations of all views to one head and its covariance."""
