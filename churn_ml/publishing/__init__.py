"""Making an audited night visible to BI, and taking it back."""
