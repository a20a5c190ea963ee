"""Candidates, cross-fitted models, artifacts, and the registry with its deployments."""
