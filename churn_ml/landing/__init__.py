"""Files become rows of ``raw``, exactly as delivered, or quarantined records; never neither."""
