"""What BI tools are given: Metabase's questions and dashboards, Power BI's model."""
