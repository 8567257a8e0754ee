"""What is studied and how: subject, settings, search, cases, pipeline, records."""
