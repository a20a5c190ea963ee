"""What people look at: pages over the published marts, and the report of a night."""
