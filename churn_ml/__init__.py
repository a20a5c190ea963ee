"""Nightly batch scoring of customer churn, from landed files to published marts."""

__version__ = "0.1.0"
