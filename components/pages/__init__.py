"""Self-contained HTML pages: rendering, the base template and shared macros."""
